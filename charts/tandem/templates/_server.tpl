{{/* (root, component, port): the Service of an embedded server. Its only port is named like the component's own. */}}
{{- define "tandem.serverService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "tandem.fullname" .root }}-{{ .component }}
  labels: {{- include "tandem.labels" . | nindent 4 }}
spec:
  selector: {{- include "tandem.selectorLabels" . | nindent 4 }}
  ports:
    - {name: {{ .component }}, port: {{ .port }}, targetPort: {{ .component }}}
{{- end -}}
