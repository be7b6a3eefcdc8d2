"""TradingAccounts: the account's trading mode in the control topic, its credentials, and what it holds.

The mode is told to the services as it is declared, with one exception: a stricter one that somebody else has set, such as the kill
switch, is never loosened from here. It is taken over by declaring the same mode, and loosened after that. A deletion leaves a mode
behind, by spec.deletionPolicy: nothing trades on in an account because its object has gone. What the account holds is told of the books
that name it; one that names nobody, because no portfolio has opened it since there are names, counts for every account of its source.
"""

from collections.abc import Iterable
from dataclasses import replace

from tandem.adapters import telemetry
from tandem.adapters.open_positions import OpenPositions
from tandem.domain.control import TradingState
from tandem.domain.errors import Permanent, Transient
from tandem.domain.trading import TradingMode
from tandem.operator.context import Context
from tandem.operator.finalizers import has_finalizer, hold, is_deleted, is_forced, left_s, release
from tandem.operator.pairs import essentials
from tandem.operator.queue import WorkQueue
from tandem.ports import Manifest
from tandem.rollout.conditions import READY, Finding, condition_of, ready, updated
from tandem.rollout.trading_account import (
    CREDENTIALS_FOUND,
    DELETION_MODES,
    MODES,
    TRADING_ACCOUNT,
    TradingAccount,
    TradingAccountStatus,
    parse_trading_account,
)

_LOOK_AGAIN_S = 15.0  # at what the account holds and at its secret
_DELETION_LOOK_S = 2.0
_STRICTNESS = {mode: rank for rank, mode in enumerate(TradingMode)}  # they stand in this order
_NAMES = {mode: name for name, mode in MODES.items()}


class Accounts:
    """The reconcile of TradingAccounts."""

    def __init__(self, context: Context, positions: OpenPositions) -> None:
        self._context, self._positions = context, positions

    def register(self, queue: WorkQueue) -> None:
        """TradingAccounts, one at a time: there are few."""
        queue.register(TRADING_ACCOUNT, self.reconcile)

    def concerned(self, manifest: Manifest) -> Iterable[tuple[str, str]]:  # noqa: ARG002  (as every part says)
        """No object but the account itself."""
        return ()

    def told(self, key: str) -> Iterable[tuple[str, str]]:
        """The account whose mode has changed."""
        if key.startswith("trading/account/"):
            yield TRADING_ACCOUNT, key.removeprefix("trading/account/")

    def resync(self) -> None:
        """Nothing is left behind but modes, on purpose."""

    def stop(self) -> None:
        """Nothing runs on its own."""

    def reconcile(self, name: str) -> float | None:
        """One look at one TradingAccount."""
        read = self._context.objects.get(TRADING_ACCOUNT, name)
        if read is None:
            return None
        account = parse_trading_account(essentials(read))
        if not isinstance(account, TradingAccount):
            message = "; ".join(fault.message for fault in account)
            self._write(read, [Finding(type=READY, status="False", reason="Invalid", message=message)])
            self._context.events.tell(read, "Warning", "Invalid", message)
            if is_deleted(read):
                release(self._context, read)
            return None
        if is_deleted(read):
            return self._withdraw(read, account)
        return self._declare(hold(self._context, read), account)

    def _declare(self, read: Manifest, account: TradingAccount) -> float:
        wanted = account.to_state()
        wanted = replace(wanted, reason=f"{_mark(account)}{': ' if wanted.reason else ''}{wanted.reason}")
        trouble: Transient | None = None
        findings: list[Finding] = []
        mode: TradingMode | None = None
        try:
            mode = self._tell(read, wanted, account)  # before anything else that could fail
        except Transient as error:
            if self._context.control.trouble is None:
                raise
            trouble = error
            message = f"{error}; services go on with the mode that they were told before"
            findings.append(Finding(type=READY, status="Unknown", reason="KafkaUnreachable", message=message))
        if mode is not None and mode is not wanted.mode:
            findings.append(Finding(type=READY, status="False", reason="ModeKept", message=_kept(mode, wanted.mode)))
        findings.append(self._credentials(account))
        open_pairs, away = self._open_pairs(account)
        if away is not None:
            findings.append(Finding(type=READY, status="Unknown", reason="PostgresUnreachable", message=away))
        self._report(read, findings, mode=mode, open_pairs=open_pairs)
        if trouble is not None:
            raise trouble
        return _LOOK_AGAIN_S

    def _credentials(self, account: TradingAccount) -> Finding:
        reference = account.spec.secret_ref
        if reference is None:
            message = "the recycler's exchange takes any credentials"
            return Finding(type=CREDENTIALS_FOUND, status="True", reason="NotNeeded", message=message)
        try:
            secret = self._context.cluster.get("Secret", reference.name)
        except Permanent as error:
            message = f"Secret {reference.name} cannot be looked at: {error}"
            return Finding(type=CREDENTIALS_FOUND, status="Unknown", reason="CredentialsUnreadable", message=message)
        if secret is None or not secret.get("data"):
            what = "does not exist" if secret is None else "is empty"
            message = f"Secret {reference.name} {what}; the account's portfolio cannot start without the broker's credentials"
            return Finding(type=CREDENTIALS_FOUND, status="False", reason="CredentialsMissing", message=message)
        return Finding(type=CREDENTIALS_FOUND, status="True", reason="CredentialsFound", message=f"Secret {reference.name} is there")

    def _tell(self, read: Manifest, wanted: TradingState, account: TradingAccount) -> TradingMode:
        """Bring the mode in the control topic to what is wanted, unless that would loosen another's; the mode that is in force."""
        known = self._context.control.trading(wanted.scope)
        if known == wanted:
            return wanted.mode
        if known is not None and not known.reason.startswith(_mark(account)):
            if _STRICTNESS[known.mode] > _STRICTNESS[wanted.mode]:
                return known.mode
            telemetry.counter("operator_drift_repaired_total").labels(record="trading").inc()
        self._context.control.publish(wanted)
        if known is None or known.mode is not wanted.mode:
            self._context.events.tell(read, "Normal", "ModeSet", f"mode {_NAMES[wanted.mode]} was told to the services")
        return wanted.mode

    def _withdraw(self, read: Manifest, account: TradingAccount) -> float | None:
        if not has_finalizer(read):
            return None
        context = self._context
        policy = account.spec.deletion_policy
        left = 0.0 if is_forced(read) else left_s(read, account.spec.deletion_timeout_seconds, context.now_s())
        reason = f"{_mark(account)} is deleted ({policy})"
        wanted = TradingState(scope=f"account/{account.metadata.name}", mode=DELETION_MODES[policy], reason=reason)
        try:
            mode = self._tell(read, wanted, account)
            open_pairs = self._open_pairs(account, strict=policy == "Flatten")[0]
        except Transient as error:
            if left > 0:
                self._wait(read, f"cannot be withdrawn now: {error}", None)
                raise
            self._let_go(read, f"the mode may not have been told to the services: {error}")
            return None
        if policy == "Flatten" and open_pairs:
            if left > 0:
                self._wait(read, f"waiting until nothing is open in the account, {policy}", open_pairs, mode)
                return min(_DELETION_LOOK_S, left)
            self._let_go(read, f"{open_pairs} pairs are still open; the mode {_NAMES[mode]} stays in force")
            return None
        context.events.tell(read, "Normal", "Withdrawn", f"the mode {_NAMES[mode]} stays in force for the account")
        release(context, read)
        return None

    def _let_go(self, read: Manifest, why: str) -> None:
        reason = "ForceDeleted" if is_forced(read) else "WithdrawalTimedOut"
        self._context.events.tell(read, "Warning", reason, why)
        release(self._context, read)

    def _wait(self, read: Manifest, message: str, open_pairs: int | None, mode: TradingMode | None = None) -> None:
        if (was := condition_of(TradingAccountStatus.read(read).conditions, READY)) is None or was.reason != "Withdrawing":
            self._context.events.tell(read, "Normal", "Withdrawing", message)
        self._write(read, [Finding(type=READY, status="False", reason="Withdrawing", message=message)], mode=mode, open_pairs=open_pairs)

    def _open_pairs(self, account: TradingAccount, *, strict: bool = False) -> tuple[int | None, str | None]:
        """How many pairs are open in the account, or why nobody knows. strict: raise Transient instead."""
        try:
            names = ("", account.metadata.name)
            held = [p for p in self._positions.now() if p.source == account.spec.source and p.trading_account in names]
        except Transient as error:
            if strict:
                raise
            return None, f"{error}; what the account holds is not known"
        return len({position.pair for position in held}), None

    def _report(self, read: Manifest, findings: list[Finding], *, mode: TradingMode | None, open_pairs: int | None) -> None:
        """Status and Events of an account that is there to stay."""
        troubles = [finding for finding in findings if finding.type == READY]
        overall = ready([*(f for f in findings if f.type != READY), *troubles], reason="ModeTold")
        was = condition_of(TradingAccountStatus.read(read).conditions, READY)
        self._write(read, [*(f for f in findings if f.type != READY), overall], mode=mode, open_pairs=open_pairs)
        if overall.status != "True" and (was is None or was.reason != overall.reason):
            self._context.events.tell(read, "Warning", overall.reason, overall.message)

    def _write(self, read: Manifest, findings: list[Finding], *, mode: TradingMode | None = None, open_pairs: int | None = None) -> None:
        old, generation = TradingAccountStatus.read(read), read["metadata"]["generation"]
        status = TradingAccountStatus(
            observed_generation=generation,
            mode=_NAMES[mode] if mode is not None else old.mode,
            open_pairs=open_pairs if open_pairs is not None else old.open_pairs,
            conditions=updated(old.conditions, findings, generation=generation, now_s=self._context.now_s()),
        )
        self._context.write_status(read, status.to_document())


def _mark(account: TradingAccount) -> str:
    """How a mode's reason begins that this operator has set."""
    return f"TradingAccount {account.metadata.name}"


def _kept(mode: TradingMode, wanted: TradingMode) -> str:
    name = _NAMES[mode]
    return (
        f"mode {name} was set past this object, by a kill switch or by hand, and is not loosened to {_NAMES[wanted]} from here; "
        f"to take it over, set spec.mode to {name} first"
    )
