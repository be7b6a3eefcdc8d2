{{/* Names, labels and images. Who needs one of these asks here, so that no two places can differ. */}}

{{/* Prefix of all names. 40 characters leave room for the longest suffix within 63. */}}
{{- define "tandem.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (root, component): labels by which pods are chosen. Never changed: a Deployment's selector cannot be. */}}
{{- define "tandem.selectorLabels" -}}
app.kubernetes.io/name: tandem
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* (root, component): labels of a pod. Without the chart's version: an upgrade that changes nothing else starts no pod anew. */}}
{{- define "tandem.podLabels" -}}
{{ include "tandem.selectorLabels" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* (root, component): labels of every object. */}}
{{- define "tandem.labels" -}}
{{ include "tandem.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- end -}}

{{/* (root, role): image of a role; registry of the role, else global, else ours for our own images. */}}
{{- define "tandem.image" -}}
{{- $image := index .root.Values.images .role -}}
{{- $ours := hasPrefix "tandem-" $image.repository | ternary .root.Values.image.registry "" -}}
{{- $registry := coalesce $image.registry .root.Values.global.imageRegistry $ours | default "" -}}
{{- $name := printf "%s/%s" $registry $image.repository | trimPrefix "/" -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (coalesce $image.tag .root.Values.image.tag .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* imagePullSecrets as Kubernetes takes them; each given name once. */}}
{{- define "tandem.pullSecrets" -}}
{{- $names := concat .Values.global.imagePullSecrets .Values.imagePullSecrets | uniq -}}
{{- if $names -}}
imagePullSecrets:
{{- range $names }}
  - name: {{ . }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Secrets: the one that exists, else the one that the chart makes. */}}
{{- define "tandem.postgres.secretName" -}}
{{- if not .Values.postgres.enabled -}}
{{- .Values.postgres.external.existingSecret -}}
{{- else -}}
{{- .Values.postgres.existingSecret | default (printf "%s-postgres" (include "tandem.fullname" .)) -}}
{{- end -}}
{{- end -}}

{{- define "tandem.redis.secretName" -}}
{{- if not .Values.redis.enabled -}}
{{- .Values.redis.external.existingSecret -}}
{{- else -}}
{{- .Values.redis.existingSecret | default (printf "%s-redis" (include "tandem.fullname" .)) -}}
{{- end -}}
{{- end -}}

{{- define "tandem.api.secretName" -}}
{{- .Values.api.existingSecret | default (printf "%s-api" (include "tandem.fullname" .)) -}}
{{- end -}}

{{/* (root, name, key): what the Secret holds in the cluster, else a new random text. So a password survives upgrades. */}}
{{- define "tandem.secretValue" -}}
{{- $present := lookup "v1" "Secret" .root.Release.Namespace .name -}}
{{- $value := dig "data" .key "" ($present | default dict) -}}
{{- $value | b64dec | default (randAlphaNum 32) -}}
{{- end -}}

{{/* Addresses of the servers. The embedded ones with their namespace, so that they can be asked from other namespaces, too. */}}
{{- define "tandem.kafka.servers" -}}
{{- if .Values.kafka.enabled -}}
{{- printf "%s-kafka.%s.svc:9092" (include "tandem.fullname" .) .Release.Namespace -}}
{{- else -}}
{{- .Values.kafka.external.bootstrapServers -}}
{{- end -}}
{{- end -}}

{{- define "tandem.mlflow.url" -}}
{{- if .Values.mlflow.enabled -}}
{{- printf "http://%s-mlflow.%s.svc:5000" (include "tandem.fullname" .) .Release.Namespace -}}
{{- else -}}
{{- .Values.mlflow.external.url -}}
{{- end -}}
{{- end -}}

{{- define "tandem.recycler.enabled" -}}
{{- and .Values.recycler.enabled (eq .Values.market.source "recycled") | ternary "true" "" -}}
{{- end -}}

{{/* host:port of the recycler. */}}
{{- define "tandem.recycler.address" -}}
{{- printf "%s-recycler:8080" (include "tandem.fullname" .) -}}
{{- end -}}

{{/* A page shows a portfolio. */}}
{{- define "tandem.dashboard.enabled" -}}
{{- and .Values.dashboard.enabled .Values.portfolio.enabled | ternary "true" "" -}}
{{- end -}}

{{/* (root, name): name of the page of an account. */}}
{{- define "tandem.dashboard.name" -}}
{{- printf "%s-dashboard-%s" (include "tandem.fullname" .root) .name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* (root, name): name of an account's portfolio. */}}
{{- define "tandem.portfolio.name" -}}
{{- printf "%s-portfolio-%s" (include "tandem.fullname" .root) .name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
