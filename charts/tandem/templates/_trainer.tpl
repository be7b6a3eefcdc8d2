{{/* (root, component, containers): a pod that trains. containers: the last one is the pod's, those before it run first, one by one. */}}
{{- define "tandem.trainer.pod" -}}
{{- $options := fromYaml (include "tandem.options" .) -}}
{{- $env := include "tandem.trainer.env" .root -}}
metadata:
  labels:
    {{- include "tandem.podLabels" . | nindent 4 }}
    {{- with $options.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $options.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: Never
  {{- include "tandem.podHead" (merge (dict "options" $options) .) | nindent 2 }}
  initContainers:
    {{- include "tandem.waitContainer" (dict "root" .root "role" "trainer" "env" $env "for" (list "TANDEM_POSTGRES_URL" "MLFLOW_TRACKING_URI")) | nindent 4 }}
    {{- with $options.initContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- range initial .containers }}
    {{- include "tandem.trainer.container" (dict "root" $.root "options" $options "env" $env "container" .) | nindent 4 }}
    {{- end }}
  containers:
    {{- include "tandem.trainer.container" (dict "root" .root "options" $options "env" $env "container" (last .containers)) | nindent 4 }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- include "tandem.configVolume" (dict "root" .root "files" (keys (fromYaml (include "tandem.configFiles" .root)) | sortAlpha)) | nindent 4 }}
    {{- include "tandem.scriptsVolume" .root | nindent 4 }}
    {{- with $options.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* (root, options, env, container: name and args): one run of the command `tandem`. */}}
{{- define "tandem.trainer.container" -}}
- name: {{ .container.name }}
  {{- include "tandem.containerImage" (dict "root" .root "role" "trainer") | nindent 2 }}
  command: [tandem]
  args: {{- toYaml .container.args | nindent 4 }}
  env:
    {{- .env | nindent 4 }}
    {{- with .options.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .options.extraEnvFrom }}
  envFrom: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .options.resources }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "tandem.containerSecurity" . | nindent 2 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: config, mountPath: /etc/tandem, readOnly: true}
    {{- with .options.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "tandem.trainer.env" -}}
{{ include "tandem.env.job" . }}
{{ include "tandem.env.postgres" . }}
{{ include "tandem.env.mlflow" . }}
{{- end -}}

{{/* The pre-market run. */}}
{{- define "tandem.trainer.rebaseline" -}}
- name: rebaseline
  args:
    - rebaseline
    - --once
    - --data=postgres
    - --bar={{ .Values.market.bar }}
    {{- range .Values.trainer.sectors }}
    - --sector={{ . }}
    {{- end }}
    {{- with .Values.trainer.replayId }}
    - --replay-id={{ . }}
    {{- end }}
{{- end -}}

{{/* The first model of each sector, one after the other: training takes both memory and cores. */}}
{{- define "tandem.trainer.bootstrap" -}}
{{- $bootstrap := .Values.trainer.bootstrap -}}
{{- range $bootstrap.sectors }}
- name: train-{{ . }}
  args:
    - train
    - --sector={{ . }}
    - --data={{ $bootstrap.file | default "/app/data/us-stocks-daily.parquet" }}
    - --bar={{ $.Values.market.bar }}
    - --from={{ $bootstrap.from }}
    - --to={{ $bootstrap.to }}
{{- end }}
{{- end -}}
