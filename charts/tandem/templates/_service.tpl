{{/*
One of our services: a Deployment with one pod, and its Service. Recreate, because two at once would both write; a portfolio's pods
agree on who writes, so that there may be more of them, which are replaced one by one.

(root, component, name, env, wait, replicas?, role?, alive?, ready?, strategy?, files?, args?, command?, labels?, volumes?, mounts?, initContainers?)
role: of the image. alive, ready: paths of the probes, where they are not /livez and /readyz.
wait: variables with the servers that must be there first. files: of the configuration, that it reads.
*/}}
{{- define "tandem.serviceDeployment" -}}
{{- $root := .root -}}
{{- $options := fromYaml (include "tandem.options" (dict "root" $root "component" .component)) -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels:
    {{- include "tandem.labels" . | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  replicas: {{ .replicas | default 1 }}
  revisionHistoryLimit: 3
  strategy: {{ .strategy | default (dict "type" "Recreate") | toJson }}
  selector:
    matchLabels:
      {{- include "tandem.selectorLabels" . | nindent 6 }}
      {{- with .labels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  template:
    metadata:
      labels:
        {{- include "tandem.podLabels" . | nindent 8 }}
        {{- with .labels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- with $options.labels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if or .files $options.annotations }}
      annotations:
        {{- if .files }}
        checksum/config: {{ include "tandem.configChecksum" . | quote }}
        {{- end }}
        {{- with $options.annotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
    spec:
      {{- include "tandem.podHead" (dict "root" $root "component" .component "options" $options) | nindent 6 }}
      terminationGracePeriodSeconds: 30
      {{- $more := concat (.initContainers | default list) $options.initContainers }}
      {{- if or .wait $more }}
      initContainers:
        {{- if .wait }}
        {{- include "tandem.waitContainer" (dict "root" $root "role" (.role | default "services") "env" .env "for" .wait) | nindent 8 }}
        {{- end }}
        {{- with $more }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      containers:
        - name: {{ .component }}
          {{- include "tandem.containerImage" (dict "root" $root "role" (.role | default "services")) | nindent 10 }}
          command: {{ .command | default (list "python" "-m" (printf "tandem.%s.main" .component)) | toJson }}
          {{- with .args }}
          args: {{- toYaml . | nindent 12 }}
          {{- end }}
          env:
            {{- .env | nindent 12 }}
            {{- with $options.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- with $options.extraEnvFrom }}
          envFrom: {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            - {name: http, containerPort: 8080}
          {{- include "tandem.probes" (dict "alive" .alive "ready" .ready) | nindent 10 }}
          lifecycle:
            preStop:
              sleep: {seconds: 2}
          {{- with $options.resources }}
          resources: {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- include "tandem.containerSecurity" . | nindent 10 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- if .files }}
            - {name: config, mountPath: /etc/tandem, readOnly: true}
            {{- end }}
            {{- with concat (.mounts | default list) $options.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {}
        {{- if .files }}
        {{- include "tandem.configVolume" . | nindent 8 }}
        {{- end }}
        {{- if .wait }}
        {{- include "tandem.scriptsVolume" $root | nindent 8 }}
        {{- end }}
        {{- with concat (.volumes | default list) $options.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end -}}

{{/* (root, component, name, labels?, evenUnready?): the Service in front of it. */}}
{{- define "tandem.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  labels:
    {{- include "tandem.labels" . | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- if .evenUnready }}
  publishNotReadyAddresses: true
  {{- end }}
  selector:
    {{- include "tandem.selectorLabels" . | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - {name: http, port: 8080, targetPort: http}
{{- end -}}
