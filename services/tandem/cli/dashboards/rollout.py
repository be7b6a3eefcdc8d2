"""The dashboard of rollouts: what the operator does with new versions of models, and how the operator itself fares."""

from tandem.cli.dashboards.panels import Dashboard, Panel, Query, Row

_STEPS = (
    Panel(
        title="Step of the rollout that runs",
        help="From a candidate's replay over shadow to promotion. No colour: nothing is being rolled out in that sector.",
        unit="bool_yes_no",
        look="states",
        limit=1,
        good="above",
        width=24,
        queries=(Query("max by (sector, step) (tandem_operator_rollout_step{$sector}) > 0", "{{sector}}: {{step}}"),),
    ),
    Panel(
        title="The alias names another version",
        help="Than the one that is acted on: a candidate is being tried, or was refused, or cannot be used.",
        unit="bool_yes_no",
        look="states",
        limit=1,
        width=12,
        queries=(Query("max by (sector) (tandem_operator_alias_behind{$sector})", "{{sector}}"),),
    ),
    Panel(
        title="Since the step began",
        help="Wall time. A step that has a deadline ends with it.",
        unit="s",
        width=12,
        queries=(Query("time() - max by (sector) (tandem_operator_rollout_step_since_seconds{$sector} > 0)", "{{sector}}"),),
    ),
    Panel(
        title="Rollouts that have ended",
        width=12,
        help="In a day, by outcome. `kubectl get mro` shows each with its verdict.",
        unit="short",
        queries=(Query("sum by (outcome) (increase(tandem_operator_rollouts_total{$scope}[1d]))", "{{outcome}}"),),
    ),
)

_GATES = (
    Panel(
        title="The statistical gate's p-value",
        help="Anytime-valid: it may be looked at after every bar. A candidate passes when it falls below its level, policy.alpha.",
        unit="percentunit",
        queries=(Query("max by (sector) (tandem_operator_gate_p_value{$sector})", "{{sector}}"),),
    ),
    Panel(
        title="Bars that the gate has compared",
        help="Champion and candidate on the same bars. Without new ones the gate cannot decide.",
        unit="short",
        queries=(Query("max by (sector) (tandem_operator_gate_bars{$sector})", "{{sector}}"),),
    ),
    Panel(
        title="Sessions that those bars come from",
        help="A verdict needs bars of several sessions, policy.gate.sessionsMin.",
        unit="short",
        queries=(Query("max by (sector) (tandem_operator_gate_sessions{$sector})", "{{sector}}"),),
    ),
    Panel(
        title="Variances that are far apart",
        help="Share of the forecasts in which candidate and stable version differ by more than the policy calls ordinary. Beyond "
        "operations.divergenceShareMax, 5 % by default, the candidate is refused.",
        unit="percentunit",
        limit=0.05,
        queries=(Query("max by (sector) (tandem_operator_shadow_divergence{$sector})", "{{sector}}"),),
    ),
    Panel(
        title="The gate's effect",
        help="Mean QLIKE of the candidate minus the stable version's; below 0 the candidate is better.",
        unit="short",
        signed=True,
        queries=(Query("max by (sector) (tandem_operator_gate_effect{$sector})", "{{sector}}"),),
    ),
    Panel(
        title="The gate's statistic",
        help="Over all paired bars, for people. It decides nothing: the anytime-valid p-value does.",
        unit="short",
        signed=True,
        queries=(Query("max by (sector) (tandem_operator_gate_statistic{$sector})", "{{sector}}"),),
    ),
    Panel(
        title="The gate's verdict",
        help="At its newest look.",
        unit="bool_yes_no",
        look="states",
        limit=1,
        good="above",
        queries=(Query("max by (sector, verdict) (tandem_operator_gate_verdict{$sector}) > 0", "{{sector}}: {{verdict}}"),),
    ),
    Panel(
        title="Version that is acted on",
        help="Forecasts of each version that decisions were made of. At a promotion one line ends where the next begins.",
        unit="cps",
        queries=(
            Query("sum by (sector, version) (rate(tandem_portfolio_forecasts_acted_total{$sector}[$rate]))", "{{sector}} v{{version}}"),
        ),
    ),
)

_OBJECTS = (
    Panel(
        title="Objects that are not ready",
        help="Whose condition Ready is not True. `kubectl get tandem` gives the reason of each.",
        unit="short",
        limit=1,
        queries=(Query("sum by (kind) (tandem_operator_not_ready{$scope})", "{{kind}}"),),
    ),
    Panel(
        title="Objects",
        help="In the namespace.",
        unit="short",
        queries=(Query("sum by (kind) (tandem_operator_objects{$scope})", "{{kind}}"),),
    ),
    Panel(
        title="Events",
        help="What the operator told about objects, by reason.",
        unit="short",
        look="bars",
        queries=(Query("sum by (reason) (increase(tandem_operator_events_total{$scope}[$rate]))", "{{reason}}"),),
    ),
)

_OPERATOR = (
    Panel(
        title="Looks at objects",
        help="By how they ended. transient: asked again; crashed and broken: a fault of ours.",
        unit="cps",
        queries=(Query("sum by (kind, result) (rate(tandem_operator_reconciles_total{$scope}[$rate]))", "{{kind}} {{result}}"),),
    ),
    Panel(
        title="How long a look takes, p99",
        help="The replay gate of a candidate takes seconds; everything else milliseconds.",
        unit="s",
        queries=(
            Query(
                "histogram_quantile(0.99, sum by (le, kind) (rate(tandem_operator_reconcile_seconds_bucket{$scope}[$rate])))", "{{kind}}"
            ),
        ),
    ),
    Panel(
        title="Objects that wait",
        help="Due to be looked at, or in hand.",
        unit="short",
        queries=(Query("sum by (kind) (tandem_operator_queue_waiting{$scope})", "{{kind}}"),),
    ),
    Panel(
        title="Records written to the control topic",
        help="And those that somebody else had changed and that were put back.",
        unit="short",
        look="bars",
        queries=(
            Query("sum by (record) (increase(tandem_operator_control_writes_total{$scope}[$rate]))", "{{record}}"),
            Query("sum by (record) (increase(tandem_operator_drift_repaired_total{$scope}[$rate]))", "put back: {{record}}"),
        ),
    ),
    Panel(
        title="Requests to the API server",
        help="By verb and status; `none` is without an answer.",
        unit="cps",
        queries=(Query("sum by (verb, code) (rate(tandem_operator_api_requests_total{$scope}[$rate]))", "{{verb}} {{code}}"),),
    ),
    Panel(
        title="Leader",
        help="1 for the process that holds the lease. More than one at a time must never be.",
        unit="short",
        queries=(Query("sum(tandem_operator_leader{$scope})", "leaders"),),
    ),
)

ROLLOUT = Dashboard(
    name="rollout",
    title="Tandem / Rollout",
    help="What the operator does with new versions of models, and how the operator itself fares. Without Kubernetes there is none.",
    variables=("sector",),
    rows=(Row("Rollouts", _STEPS), Row("Gates", _GATES), Row("Resources", _OBJECTS), Row("The operator", _OPERATOR)),
)
