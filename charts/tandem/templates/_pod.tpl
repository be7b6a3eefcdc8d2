{{/* Parts of a pod: what every one of them has, said once. */}}

{{/* (root, component): options of a component's pods, as YAML: those of `pod` under its own; lists are added to. */}}
{{- define "tandem.options" -}}
{{- $own := index .root.Values .component | default dict -}}
{{- $options := mergeOverwrite (deepCopy .root.Values.pod) (pick (deepCopy $own) "annotations" "labels" "nodeSelector" "affinity" "priorityClassName" "topologySpread" "resources") -}}
{{- range list "tolerations" "extraEnv" "extraEnvFrom" "extraVolumes" "extraVolumeMounts" "initContainers" -}}
{{- $_ := set $options . (concat (index $.root.Values.pod .) (index $own . | default list) | default list) -}}
{{- end -}}
{{- toYaml $options -}}
{{- end -}}

{{/* (root, component, options, selector?, user?, serviceAccount?, token?): fields of a pod's spec before its containers. */}}
{{- define "tandem.podHead" -}}
serviceAccountName: {{ .serviceAccount | default (printf "%s-services" (include "tandem.fullname" .root)) }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
{{- with include "tandem.pullSecrets" .root }}
{{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user | default 65532 }}
  runAsGroup: {{ .user | default 65532 }}
  fsGroup: {{ .user | default 65532 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .options.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .options.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .options.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .options.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if .options.topologySpread }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "tandem.selectorLabels" . | nindent 8 }}
{{- end }}
{{- end -}}

{{/* What every container may do: next to nothing. */}}
{{- define "tandem.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* (root, role): image of a container. */}}
{{- define "tandem.containerImage" -}}
image: {{ include "tandem.image" . | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end -}}

{{/* (root, role, env, for): waits for servers before our process starts, which would else be restarted with growing pauses. for: variables
of env that name them; it gets no other ones. */}}
{{- define "tandem.waitContainer" -}}
- name: wait
  {{- include "tandem.containerImage" . | nindent 2 }}
  command: [python, /scripts/wait.py, {{ join ", " .for }}]
  env:
    {{- range fromYamlArray .env }}
    {{- if has .name $.for }}
    {{- toYaml (list .) | nindent 4 }}
    {{- end }}
    {{- end }}
  resources:
    requests: {cpu: 10m, memory: 32Mi}
    limits: {memory: 128Mi}
  {{- include "tandem.containerSecurity" . | nindent 2 }}
  volumeMounts:
    - {name: scripts, mountPath: /scripts, readOnly: true}
    - {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* (alive?, ready?): probes of a service with /livez and /readyz on port http. TCP would pass while a process hangs. */}}
{{- define "tandem.probes" -}}
startupProbe:
  httpGet: {path: {{ .alive | default "/livez" }}, port: http}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 90
readinessProbe:
  httpGet: {path: {{ .ready | default "/readyz" }}, port: http}
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: {{ .alive | default "/livez" }}, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{/* (root, files): those files of the configuration as a volume; `pair-x.yaml` of the ConfigMap is pairs/x.yaml. */}}
{{- define "tandem.configVolume" -}}
- name: config
  configMap:
    name: {{ include "tandem.fullname" .root }}-config
    items:
      {{- range .files }}
      - {key: {{ . }}, path: {{ hasPrefix "pair-" . | ternary (printf "pairs/%s" (trimPrefix "pair-" .)) . }}}
      {{- end }}
{{- end -}}

{{/* (root, files): of what those files say: another text makes a new pod, a change of any other file does not. */}}
{{- define "tandem.configChecksum" -}}
{{- $all := fromYaml (include "tandem.configFiles" .root) -}}
{{- $text := "" -}}
{{- range .files -}}
{{- $text = printf "%s%s:%s" $text . (get $all .) -}}
{{- end -}}
{{- $text | sha256sum | trunc 16 -}}
{{- end -}}

{{/* Files of the configuration by key of the ConfigMap: the chart's, with those of the values in their place. */}}
{{- define "tandem.configFiles" -}}
{{- $files := dict -}}
{{- range $path, $_ := .Files.Glob "files/config/*.yaml" -}}
{{- $_ := set $files (base $path) ($.Files.Get $path) -}}
{{- end -}}
{{- if .Values.config.pairs -}}
{{- range $name, $text := .Values.config.pairs -}}
{{- $_ := set $files (printf "pair-%s" $name) $text -}}
{{- end -}}
{{- else -}}
{{- range $path, $_ := .Files.Glob "files/config/pairs/*.yaml" -}}
{{- $_ := set $files (printf "pair-%s" (base $path)) ($.Files.Get $path) -}}
{{- end -}}
{{- end -}}
{{- range $name, $text := .Values.config.files -}}
{{- $_ := set $files $name $text -}}
{{- end -}}
{{- toYaml $files -}}
{{- end -}}

{{- define "tandem.scriptsVolume" -}}
- name: scripts
  configMap: {name: {{ include "tandem.fullname" . }}-scripts}
{{- end -}}

{{/* (root, persistence, claim): a volume `data` that is a claim or, without persistence, as short-lived as the pod. */}}
{{- define "tandem.claimTemplates" -}}
{{- if .persistence.enabled }}
persistentVolumeClaimRetentionPolicy:
  whenDeleted: {{ .persistence.whenDeleted }}
  whenScaled: Retain
volumeClaimTemplates:
  - metadata:
      name: data
      labels: {{- include "tandem.selectorLabels" . | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .persistence.storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests: {storage: {{ .persistence.size }}}
{{- end }}
{{- end -}}
