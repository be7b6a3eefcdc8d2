{{/* Where the recording is within the pod. */}}
{{- define "tandem.recycler.file" -}}
{{- $data := .Values.recycler.data -}}
{{- if or $data.volume $data.url -}}
{{- printf "/data/%s" ($data.file | default (base $data.url)) -}}
{{- else -}}
{{- $data.file | default "/app/data/us-stocks-daily.parquet" -}}
{{- end -}}
{{- end -}}

{{/* One bar a second, where no speed is given: of market time, in a replay the nights take none. */}}
{{- define "tandem.recycler.speed" -}}
{{- .Values.recycler.speed | default (get (dict "1min" "60" "5min" "300" "1d" "23400") .Values.market.bar) -}}
{{- end -}}

{{/* Options of the recycler's command, as a list. Above real time it waits at each bar for the portfolio. */}}
{{- define "tandem.recycler.options" -}}
{{- $speed := include "tandem.recycler.speed" . -}}
{{- $recycler := .Values.recycler -}}
- --data={{ include "tandem.recycler.file" . }}
- --bar={{ .Values.market.bar }}
- --mode={{ $recycler.mode }}
- --speed={{ $speed }}
{{- with $recycler.from }}
- --from={{ . }}
{{- end }}
{{- with $recycler.to }}
- --to={{ . }}
{{- end }}
{{- if eq $recycler.start "hold" }}
- --hold
{{- else if eq $recycler.start "on_subscribe" }}
- --start-on-subscribe
{{- end }}
{{- if or (eq $speed "max") (gt (float64 $speed) 1.0) }}
- --lockstep
{{- if .Values.portfolio.enabled }}
- --participants=portfolio
{{- end }}
{{- end }}
- --cash={{ (first .Values.accounts).capitalUsd | default "1000000" }}
- --half-spread-bps={{ $recycler.halfSpreadBps }}
{{- with $recycler.options }}
{{ toYaml . }}
{{- end }}
{{- end -}}
