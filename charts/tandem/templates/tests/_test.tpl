{{/* (root, name, role, serviceAccount?, token?, env, args): a pod of `helm test` that runs a script of the chart. */}}
{{- define "tandem.testPod" -}}
{{- $options := fromYaml (include "tandem.options" (dict "root" .root "component" "test")) -}}
{{- $context := dict "root" .root "component" "test" "options" $options "serviceAccount" .serviceAccount "token" .token -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "tandem.fullname" .root }}-test-{{ .name }}
  labels: {{- include "tandem.labels" $context | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  {{- include "tandem.podHead" $context | nindent 2 }}
  containers:
    - name: test
      {{- include "tandem.containerImage" . | nindent 6 }}
      command: [python, /scripts/{{ .script }}]
      args: {{- toYaml .args | nindent 8 }}
      env: {{- .env | nindent 8 }}
      resources:
        requests: {cpu: 50m, memory: 96Mi}
        limits: {memory: 384Mi}
      {{- include "tandem.containerSecurity" . | nindent 6 }}
      volumeMounts:
        - {name: scripts, mountPath: /scripts, readOnly: true}
        - {name: tmp, mountPath: /tmp}
  volumes:
    {{- include "tandem.scriptsVolume" .root | nindent 4 }}
    - name: tmp
      emptyDir: {}
{{- end -}}
