{{/* Who talks to whom. One table for both ends of each edge, so that they cannot differ. */}}

{{/* Servers and services that are called: port, and who calls. External servers have no entry for their port here. */}}
{{- define "tandem.network.table" -}}
kafka: {port: 9092, from: [ingestor, recorder, portfolio, forecaster, operator, dashboard, test]}
postgres: {port: 5432, from: [recorder, portfolio, forecaster, operator, dashboard, trainer, mlflow, test]}
redis: {port: 6379, from: [portfolio, test]}
mlflow: {port: 5000, from: [forecaster, operator, dashboard, trainer, test], clients: true}
recycler: {port: 8080, from: [ingestor, portfolio, dashboard, test], monitored: true}
ingestor: {port: 8080, from: [test], monitored: true}
recorder: {port: 8080, from: [test], monitored: true}
portfolio: {port: 8080, from: [portfolio, dashboard, test], monitored: true, clients: true}
dashboard: {port: 8080, from: [test], clients: true}
operator: {port: 8080, from: [mlflow, test], monitored: true}
forecaster: {port: 3000, from: [operator, test], monitored: true, clients: true}
{{- end -}}

{{/* Components of this release, as far as their values tell. A trainer is there in any case: it may be run by hand. */}}
{{- define "tandem.network.present" -}}
{{- $present := list "forecaster" "trainer" "test" -}}
{{- range list "ingestor" "recorder" "portfolio" "operator" "kafka" "postgres" "redis" "mlflow" -}}
{{- if (index $.Values .).enabled -}}
{{- $present = append $present . -}}
{{- end -}}
{{- end -}}
{{- if include "tandem.recycler.enabled" . -}}
{{- $present = append $present "recycler" -}}
{{- end -}}
{{- if include "tandem.dashboard.enabled" . -}}
{{- $present = append $present "dashboard" -}}
{{- end -}}
{{- toYaml $present -}}
{{- end -}}

{{/* (root, from: components): peers. */}}
{{- define "tandem.network.peers" -}}
{{- range .from }}
- podSelector:
    matchLabels: {{- include "tandem.selectorLabels" (dict "root" $.root "component" .) | nindent 6 }}
{{- end }}
{{- end -}}

{{/* Who may scrape. */}}
{{- define "tandem.network.monitoring" -}}
{{- with .Values.networkPolicy.monitoring }}
{{- toYaml . }}
{{- end }}
{{- end -}}

{{/* (root, to: components): egress rules; to servers of one's own by their ports, since where they are is not known. */}}
{{- define "tandem.network.egress" -}}
{{- $table := fromYaml (include "tandem.network.table" .root) -}}
{{- $present := fromYamlArray (include "tandem.network.present" .root) -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- range .to }}
{{- if has . $present }}
- to: {{- include "tandem.network.peers" (dict "root" $.root "from" (list .)) | nindent 4 }}
  ports:
    - {port: {{ (index $table .).port }}, protocol: TCP}
{{- else if hasKey $.root.Values.networkPolicy.externalPorts . }}
- ports:
    - {port: {{ index $.root.Values.networkPolicy.externalPorts . }}, protocol: TCP}
{{- end }}
{{- end }}
{{- end -}}
