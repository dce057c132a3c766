"""SQLite against the contract of the stores; the fixtures are in ``conftest.py``."""

from limen.testing.contracts.account_administration import (
    AuthorityContract,
    DeleteContract,
    LastAdministratorContract,
    SetEmailContract,
    SetTemporaryPasswordContract,
)
from limen.testing.contracts.account_imports import ImportContract
from limen.testing.contracts.accounts import ChangePasswordContract, ChangeStatusContract, CreateContract, PageContract
from limen.testing.contracts.api_keys import ApiKeysContract, IssueKeysContract
from limen.testing.contracts.approval_decisions import DecidingContract, ExecutionContract
from limen.testing.contracts.approvals import RequestsContract
from limen.testing.contracts.client_certificates import ClientCertificatesContract, OpenBoundContract
from limen.testing.contracts.cookies import CookieContract, RenewContract
from limen.testing.contracts.events import EventsContract
from limen.testing.contracts.grants import GrantsContract, SeparationContract
from limen.testing.contracts.issuing import OpenContract, RotateAgainstEndingContract, RotateContract
from limen.testing.contracts.mails import MailsContract
from limen.testing.contracts.messages import MessagesContract
from limen.testing.contracts.notices import NoticesContract
from limen.testing.contracts.personal_data import ErasureContract, PersonalDataContract
from limen.testing.contracts.reach import ReachContract
from limen.testing.contracts.recovery import ResetContract, VerifyContract
from limen.testing.contracts.recovery_endings import EndingContract
from limen.testing.contracts.restoring import RestoringContract
from limen.testing.contracts.role_assignment import AssignRolesContract
from limen.testing.contracts.roles import RoleDefinitionsContract, RolesContract
from limen.testing.contracts.session_cap import SessionCapContract
from limen.testing.contracts.sessions import SessionsContract
from limen.testing.contracts.signing_keys import SigningKeysContract
from limen.testing.contracts.sso import SsoFlowsContract, SsoIdentitiesContract, SsoSessionsContract
from limen.testing.contracts.storage import StorageContract
from limen.testing.contracts.tampering import TamperingContract
from limen.testing.contracts.throttles import ThrottlesContract
from limen.testing.contracts.trail import TrailContract
from limen.testing.contracts.trail_checkpoints import CheckpointsContract
from limen.testing.contracts.trail_sinks import SinksContract


class TestOpen(OpenContract):
    pass


class TestRotate(RotateContract):
    pass


class TestRotateAgainstEnding(RotateAgainstEndingContract):
    pass


class TestClientCertificates(ClientCertificatesContract):
    pass


class TestOpenBound(OpenBoundContract):
    pass


class TestIssueKeys(IssueKeysContract):
    pass


class TestApiKeys(ApiKeysContract):
    pass


class TestSessions(SessionsContract):
    pass


class TestCookies(CookieContract):
    pass


class TestRenew(RenewContract):
    pass


class TestCreate(CreateContract):
    pass


class TestImport(ImportContract):
    pass


class TestErasure(ErasureContract):
    pass


class TestPersonalData(PersonalDataContract):
    pass


class TestPage(PageContract):
    pass


class TestChangeStatus(ChangeStatusContract):
    pass


class TestChangePassword(ChangePasswordContract):
    pass


class TestDelete(DeleteContract):
    pass


class TestSetEmail(SetEmailContract):
    pass


class TestSetTemporaryPassword(SetTemporaryPasswordContract):
    pass


class TestAuthority(AuthorityContract):
    pass


class TestLastAdministrator(LastAdministratorContract):
    pass


class TestRoles(RolesContract):
    pass


class TestRoleDefinitions(RoleDefinitionsContract):
    pass


class TestAssignRoles(AssignRolesContract):
    pass


class TestGrants(GrantsContract):
    pass


class TestSeparation(SeparationContract):
    pass


class TestEvents(EventsContract):
    pass


class TestStorage(StorageContract):
    pass


class TestRestoring(RestoringContract):
    pass


class TestSigningKeys(SigningKeysContract):
    pass


class TestMessages(MessagesContract):
    pass


class TestSsoFlows(SsoFlowsContract):
    pass


class TestSsoIdentities(SsoIdentitiesContract):
    pass


class TestSsoSessions(SsoSessionsContract):
    pass


class TestApprovalRequests(RequestsContract):
    pass


class TestApprovalDeciding(DecidingContract):
    pass


class TestApprovalExecution(ExecutionContract):
    pass


class TestMails(MailsContract):
    pass


class TestNotices(NoticesContract):
    pass


class TestReach(ReachContract):
    pass


class TestReset(ResetContract):
    pass


class TestVerify(VerifyContract):
    pass


class TestEnding(EndingContract):
    pass


class TestTrail(TrailContract):
    pass


class TestTampering(TamperingContract):
    pass


class TestSessionCap(SessionCapContract):
    """Never more sessions than may be."""


class TestThrottles(ThrottlesContract):
    pass


class TestSinks(SinksContract):
    pass


class TestCheckpoints(CheckpointsContract):
    pass
