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

{{/* (name, secret, key, optional?): a variable from a key of a Secret. A certificate comes as its text, so that no pod needs a volume. */}}
{{- define "tandem.env.secret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: {{ .key }}{{ if .optional }}, optional: true{{ end }}}
{{- end -}}

{{- define "tandem.env.kafka" -}}
- {name: TANDEM_KAFKA_BOOTSTRAP_SERVERS, value: {{ include "tandem.kafka.servers" . | quote }}}
{{- with .Values.kafka.external }}
{{- if and (not $.Values.kafka.enabled) (ne .security "PLAINTEXT") }}
- {name: TANDEM_KAFKA_SECURITY, value: {{ .security }}}
{{- if hasPrefix "SASL" .security }}
- {name: TANDEM_KAFKA_SASL_MECHANISM, value: {{ .saslMechanism }}}
{{ include "tandem.env.secret" (dict "name" "TANDEM_KAFKA_USERNAME" "secret" .existingSecret "key" "username") }}
{{ include "tandem.env.secret" (dict "name" "TANDEM_KAFKA_PASSWORD" "secret" .existingSecret "key" "password") }}
{{- end }}
{{- if and .existingSecret (hasSuffix "SSL" .security) }}
{{ include "tandem.env.secret" (dict "name" "TANDEM_KAFKA_CA_FILE" "secret" .existingSecret "key" "ca.crt" "optional" true) }}
{{ include "tandem.env.secret" (dict "name" "TANDEM_KAFKA_CERT_FILE" "secret" .existingSecret "key" "tls.crt" "optional" true) }}
{{ include "tandem.env.secret" (dict "name" "TANDEM_KAFKA_KEY_FILE" "secret" .existingSecret "key" "tls.key" "optional" true) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tandem.env.postgres" -}}
- name: TANDEM_POSTGRES_URL
  valueFrom:
    secretKeyRef: {name: {{ include "tandem.postgres.secretName" . }}, key: url}
{{- with .Values.postgres.external }}
{{- if and (not $.Values.postgres.enabled) .sslmode }}
- {name: TANDEM_POSTGRES_SSLMODE, value: {{ .sslmode }}}
{{ include "tandem.env.secret" (dict "name" "TANDEM_POSTGRES_CA_FILE" "secret" .existingSecret "key" "ca.crt" "optional" true) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tandem.env.redis" -}}
- name: TANDEM_REDIS_URL
  valueFrom:
    secretKeyRef: {name: {{ include "tandem.redis.secretName" . }}, key: url}
{{- with .Values.redis.external }}
{{- if and (not $.Values.redis.enabled) .tls }}
{{ include "tandem.env.secret" (dict "name" "TANDEM_REDIS_CA_FILE" "secret" .existingSecret "key" "ca.crt" "optional" true) }}
{{- end }}
{{- end }}
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

{{/* (root, account): what the page of an account asks. Its token drops the portfolio's cache; who changes what is traded types it. */}}
{{- define "tandem.env.dashboard" -}}
- {name: TANDEM_ACCOUNT, value: {{ .account.name | quote }}}
- {name: TANDEM_PORTFOLIO_URL, value: "http://{{ include "tandem.portfolio.name" (dict "root" .root "name" .account.name) }}:8080"}
{{ include "tandem.env.secret" (dict "name" "TANDEM_API_TOKEN" "secret" (include "tandem.api.secretName" .root) "key" "token") }}
{{- if include "tandem.recycler.enabled" .root }}
{{ include "tandem.env.alpacaKey" (dict "secret" "") }}
- {name: TANDEM_ALPACA_API_URL, value: "http://{{ include "tandem.recycler.address" .root }}"}
{{- end }}
{{- with .root.Values.mlflow.publicUrl }}
- {name: TANDEM_MLFLOW_PUBLIC_URL, value: {{ . | quote }}}
{{- end }}
{{- if .root.Values.dashboard.research.volume }}
- {name: TANDEM_RESEARCH_DIR, value: /research}
{{- end }}
{{- end -}}

{{/* Market data. */}}
{{- define "tandem.env.market" -}}
{{- $own := include "tandem.recycler.enabled" . | empty | ternary "" (printf "ws://%s/v2/iex" (include "tandem.recycler.address" .)) -}}
{{ include "tandem.env.alpacaKey" (dict "secret" .Values.market.existingSecret) }}
{{ include "tandem.env.history" . }}
- {name: TANDEM_LATENESS_MS, value: {{ .Values.market.latenessMs | int | quote }}}
{{- with coalesce .Values.market.dataUrl $own }}
- {name: TANDEM_ALPACA_DATA_URL, value: {{ . | quote }}}
{{- end }}
{{- with .Values.ingestor }}
- {name: TANDEM_QUOTES, value: {{ join "," .quotes | quote }}}
- {name: TANDEM_MUTE_S_MAX, value: {{ .muteSeconds | quote }}}
- {name: TANDEM_STALE_S, value: {{ .staleSeconds | quote }}}
- {name: TANDEM_OVERLAP_S, value: {{ .overlapSeconds | quote }}}
- {name: TANDEM_FILL_HOURS_MAX, value: {{ .fillHours | quote }}}
- {name: TANDEM_AUDIT_S, value: {{ .auditSeconds | quote }}}
- {name: TANDEM_VERIFY_BARS, value: {{ .verifyBars | quote }}}
- {name: TANDEM_KEEP_TICKS_DAYS, value: {{ .keepTicksDays | quote }}}
{{- end }}
{{- end -}}

{{/* How long the recorder keeps what it has written. */}}
{{- define "tandem.env.keep" -}}
{{- with .Values.recorder.keep -}}
- {name: TANDEM_KEEP_BARS_DAYS, value: {{ .barsDays | quote }}}
- {name: TANDEM_KEEP_SCORES_DAYS, value: {{ .scoresDays | quote }}}
- {name: TANDEM_KEEP_REPLAYS_DAYS, value: {{ .replaysDays | quote }}}
{{- end -}}
{{- end -}}

{{/* What is known of the market beside its stream: which trades it counts, and where history is asked. */}}
{{- define "tandem.env.history" -}}
- {name: TANDEM_ALPACA_FEED, value: {{ .Values.market.feed }}}
{{- with .Values.market.historyUrl }}
- {name: TANDEM_ALPACA_HISTORY_URL, value: {{ . | quote }}}
{{- end }}
{{- end -}}

{{/* (root, account): the broker of an account. */}}
{{- define "tandem.env.broker" -}}
{{- $recycler := include "tandem.recycler.enabled" .root | empty | ternary "" (include "tandem.recycler.address" .root) -}}
{{ include "tandem.env.alpacaKey" (dict "secret" .account.existingSecret) }}
{{ include "tandem.env.history" .root }}
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
