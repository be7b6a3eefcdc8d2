{{/* Environment variables of our services, by what they need. Each takes the root context and gives items of a list. */}}

{{- define "tandem.env.service" -}}
- {name: TANDEM_HOST, value: 0.0.0.0}
- {name: TANDEM_PORT, value: "8080"}
{{ include "tandem.env.job" . }}
{{- end -}}

{{/* What a process needs that serves no HTTP. */}}
{{- define "tandem.env.job" -}}
- {name: TANDEM_HOME, value: /tmp/tandem}
- {name: TANDEM_CONFIG_DIR, value: /etc/tandem}
- {name: TANDEM_SOURCE, value: {{ .Values.market.source }}}
- {name: TANDEM_BAR, value: {{ .Values.market.bar }}}
- {name: TANDEM_LOG_LEVEL, value: {{ .Values.logLevel }}}
{{ include "tandem.env.threads" . }}
{{- end -}}

{{/* A BLAS that starts a thread for each core of the node only makes them wait for each other. */}}
{{- define "tandem.env.threads" -}}
- {name: OMP_NUM_THREADS, value: "1"}
- {name: OPENBLAS_NUM_THREADS, value: "1"}
{{- end -}}

{{- define "tandem.env.kafka" -}}
- {name: TANDEM_KAFKA_BOOTSTRAP_SERVERS, value: {{ include "tandem.kafka.servers" . | quote }}}
{{- end -}}

{{- define "tandem.env.postgres" -}}
- name: TANDEM_POSTGRES_URL
  valueFrom:
    secretKeyRef: {name: {{ include "tandem.postgres.secretName" . }}, key: url}
{{- end -}}

{{- define "tandem.env.redis" -}}
- name: TANDEM_REDIS_URL
  valueFrom:
    secretKeyRef: {name: {{ include "tandem.redis.secretName" . }}, key: url}
{{- end -}}

{{- define "tandem.env.mlflow" -}}
- {name: MLFLOW_TRACKING_URI, value: {{ include "tandem.mlflow.url" . | quote }}}
- {name: MLFLOW_DISABLE_TELEMETRY, value: "true"}
{{- if and (not .Values.mlflow.enabled) .Values.mlflow.external.existingSecret }}
- name: MLFLOW_TRACKING_USERNAME
  valueFrom:
    secretKeyRef: {name: {{ .Values.mlflow.external.existingSecret }}, key: username}
- name: MLFLOW_TRACKING_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.mlflow.external.existingSecret }}, key: password}
{{- end }}
{{- end -}}

{{/* (secret): Alpaca's key of an account or of market data; "" is the recycler, which takes any text. */}}
{{- define "tandem.env.alpacaKey" -}}
{{- if .secret -}}
- name: TANDEM_ALPACA_KEY_ID
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: key-id}
- name: TANDEM_ALPACA_SECRET_KEY
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: secret-key}
{{- else -}}
- {name: TANDEM_ALPACA_KEY_ID, value: recycled}
- {name: TANDEM_ALPACA_SECRET_KEY, value: recycled}
{{- end -}}
{{- end -}}

{{/* Market data. */}}
{{- define "tandem.env.market" -}}
{{- $own := include "tandem.recycler.enabled" . | empty | ternary "" (printf "ws://%s/v2/iex" (include "tandem.recycler.address" .)) -}}
{{ include "tandem.env.alpacaKey" (dict "secret" .Values.market.existingSecret) }}
- {name: TANDEM_ALPACA_FEED, value: {{ .Values.market.feed }}}
- {name: TANDEM_LATENESS_MS, value: {{ .Values.market.latenessMs | int | quote }}}
{{- with coalesce .Values.market.dataUrl $own }}
- {name: TANDEM_ALPACA_DATA_URL, value: {{ . | quote }}}
{{- end }}
{{- end -}}

{{/* (root, account): the broker of an account. */}}
{{- define "tandem.env.broker" -}}
{{- $recycler := include "tandem.recycler.enabled" .root | empty | ternary "" (include "tandem.recycler.address" .root) -}}
{{ include "tandem.env.alpacaKey" (dict "secret" .account.existingSecret) }}
{{- with coalesce .account.apiUrl (empty $recycler | ternary "" (printf "http://%s" $recycler)) }}
- {name: TANDEM_ALPACA_API_URL, value: {{ . | quote }}}
{{- end }}
{{- with coalesce .account.streamUrl (empty $recycler | ternary "" (printf "ws://%s/stream" $recycler)) }}
- {name: TANDEM_ALPACA_STREAM_URL, value: {{ . | quote }}}
{{- end }}
- {name: TANDEM_ACCOUNT, value: {{ .account.name | quote }}}
- {name: TANDEM_CAPITAL_USD, value: {{ .account.capitalUsd | default "1000000" | quote }}}
- name: TANDEM_API_TOKEN
  valueFrom:
    secretKeyRef: {name: {{ include "tandem.api.secretName" .root }}, key: token}
{{- end -}}
