{{/* Values that contradict each other: said at once, all of them, instead of pods that do not start. */}}
{{- define "tandem.faults" -}}
{{- $recycled := eq .Values.market.source "recycled" -}}
{{- if and (not .Values.kafka.enabled) (not .Values.kafka.external.bootstrapServers) }}
- kafka.enabled is false: set kafka.external.bootstrapServers
{{- end }}
{{- if and .Values.kafka.enabled (ne .Values.kafka.external.security "PLAINTEXT") }}
- kafka.external.security is for a Kafka of your own, and kafka.enabled is true
{{- end }}
{{- if and (not .Values.kafka.enabled) (hasPrefix "SASL" .Values.kafka.external.security) (not .Values.kafka.external.existingSecret) }}
- kafka.external.security is {{ .Values.kafka.external.security }}: set kafka.external.existingSecret with username and password
{{- end }}
{{- if and (not .Values.postgres.enabled) (not .Values.postgres.external.existingSecret) }}
- postgres.enabled is false: set postgres.external.existingSecret
{{- end }}
{{- if and (not .Values.redis.enabled) (not .Values.redis.external.existingSecret) }}
- redis.enabled is false: set redis.external.existingSecret
{{- end }}
{{- if and (not .Values.mlflow.enabled) (not .Values.mlflow.external.url) }}
- mlflow.enabled is false: set mlflow.external.url
{{- end }}
{{- if and (not .Values.kafka.enabled) .Values.kafka.external.strimziTopics.enabled (not .Values.kafka.external.strimziTopics.cluster) }}
- kafka.external.strimziTopics.enabled: set kafka.external.strimziTopics.cluster
{{- end }}
{{- if and .Values.kafka.enabled .Values.kafka.external.strimziTopics.enabled }}
- kafka.external.strimziTopics.enabled is for a Kafka of your own, and kafka.enabled is true
{{- end }}
{{- if and $recycled (not .Values.recycler.enabled) (not .Values.market.dataUrl) }}
- market.source is recycled, recycler.enabled false: set market.dataUrl, or it would be Alpaca itself
{{- end }}
{{- if and (not $recycled) .Values.ingestor.enabled (not .Values.market.existingSecret) }}
- market.source is {{ .Values.market.source }}: set market.existingSecret
{{- end }}
{{- if and $recycled .Values.recycler.enabled (gt (len .Values.accounts) 1) }}
- accounts has {{ len .Values.accounts }} entries: the recycler's paper exchange has one account
{{- end }}
{{- $names := list -}}
{{- range .Values.accounts }}
{{- if has .name $names }}
- accounts has {{ .name }} twice
{{- end }}
{{- $names = append $names .name }}
{{- if and (not $recycled) (not .existingSecret) }}
- account {{ .name }}: set existingSecret, market.source is {{ $.Values.market.source }}
{{- end }}
{{- if and $recycled (not $.Values.recycler.enabled) (or (not .apiUrl) (not .streamUrl)) }}
- account {{ .name }}: set apiUrl and streamUrl, there is no recycler, and it would be Alpaca itself
{{- end }}
{{- end }}
{{- if and (not .Values.accounts) .Values.recycler.enabled $recycled }}
- accounts is empty: the recycler opens its account with the first one's capitalUsd
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled }}
- metrics.serviceMonitor and metrics.podMonitor are both enabled: every series would be there twice
{{- end }}
{{- if lt (int .Values.forecaster.terminationGracePeriodSeconds) (add (int .Values.forecaster.preStopSeconds) 20 | int) }}
- forecaster.terminationGracePeriodSeconds is {{ .Values.forecaster.terminationGracePeriodSeconds }}, must be at least 20 above preStopSeconds, {{ .Values.forecaster.preStopSeconds }}
{{- end }}
{{- end -}}
