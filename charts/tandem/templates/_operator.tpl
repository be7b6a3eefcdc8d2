{{/* What the operator is told about the forecasters that it makes: read by tandem.rollout.deployment. */}}
{{- define "tandem.forecaster.template" -}}
{{- $options := fromYaml (include "tandem.options" (dict "root" . "component" "forecaster")) -}}
image: {{ include "tandem.image" (dict "root" . "role" "forecaster") | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with include "tandem.pullSecrets" . }}
{{ . }}
{{- end }}
instance: {{ .Release.Name }}
serviceAccountName: {{ include "tandem.fullname" . }}-services
env:
  - {name: TANDEM_SOURCE, value: {{ .Values.market.source }}}
  - {name: TANDEM_BAR, value: {{ .Values.market.bar }}}
  - {name: TANDEM_LOG_LEVEL, value: {{ .Values.logLevel }}}
  {{- include "tandem.env.threads" . | nindent 2 }}
  {{- include "tandem.env.kafka" . | nindent 2 }}
  {{- include "tandem.env.postgres" . | nindent 2 }}
  {{- include "tandem.env.mlflow" . | nindent 2 }}
  {{- with $options.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $options.extraEnvFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $options.resources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $options.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $options.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $options.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpread: {{ $options.topologySpread }}
{{- with $options.annotations }}
podAnnotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.commonLabels }}
commonLabels: {{- toYaml . | nindent 2 }}
{{- end }}
terminationGracePeriodSeconds: {{ .Values.forecaster.terminationGracePeriodSeconds }}
preStopSeconds: {{ .Values.forecaster.preStopSeconds }}
serviceMonitor:
  enabled: {{ .Values.metrics.serviceMonitor.enabled }}
  {{- with .Values.metrics.serviceMonitor.labels }}
  labels: {{- toYaml . | nindent 4 }}
  {{- end }}
  interval: {{ .Values.metrics.serviceMonitor.interval }}
networkPolicy:
  enabled: {{ .Values.networkPolicy.enabled }}
  {{- if .Values.networkPolicy.enabled }}
  ingress:
    {{- include "tandem.network.peers" (dict "root" . "from" (get (fromYaml (include "tandem.network.table" .)) "forecaster").from) | nindent 4 }}
    {{- include "tandem.network.monitoring" . | nindent 4 }}
    {{- with .Values.networkPolicy.clients }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  egress:
    {{- include "tandem.network.egress" (dict "root" . "to" (list "kafka" "postgres" "mlflow")) | nindent 4 }}
  {{- end }}
podDisruptionBudget:
  enabled: {{ .Values.podDisruptionBudget.enabled }}
keda:
  bootstrapServers: {{ include "tandem.kafka.servers" . | quote }}
{{- end -}}

{{/* Environment of the operator's process, and of the helper that removes its objects. */}}
{{- define "tandem.operator.env" -}}
{{ include "tandem.env.service" . }}
- {name: TANDEM_NAMESPACE, value: {{ .Release.Namespace }}}
- {name: TANDEM_FORECASTER_TEMPLATE, value: /etc/tandem-operator/forecaster.yaml}
- name: POD_NAME
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
{{ include "tandem.env.kafka" . }}
{{ include "tandem.env.postgres" . }}
{{ include "tandem.env.mlflow" . }}
{{- end -}}
