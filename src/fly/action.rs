//! What is asked of the platform: the unit in which it limits how often, and words for errors.

use std::fmt;

/// What one call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each name says what `words` says")]
pub enum Action {
    ReadToken,
    ListOrganisations,
    LookUpApp,
    CreateApp,
    DeleteApp,
    ListIps,
    AssignIp,
    ListSecrets,
    ChangeSecrets,
    ListVolumes,
    CreateVolume,
    ExtendVolume,
    KeepSnapshots,
    ListSnapshots,
    ListMachines,
    GetMachine,
    CreateMachine,
    UpdateMachine,
    StartMachine,
    RestartMachine,
    WaitForMachine,
    TakeLease,
    ReadLease,
    ReleaseLease,
    ListCertificates,
    RequestCertificate,
    GetCertificate,
    CheckCertificate,
    RemoveCertificate,
    ListRegions,
    FindRoom,
}

impl Action {
    /// Returns what is done, for "failed to …", with the subject to follow.
    const fn words(self) -> &'static str {
        match self {
            Self::ReadToken => "ask what the token is for",
            Self::ListOrganisations => "list the organisations",
            Self::LookUpApp => "look up app",
            Self::CreateApp => "create app",
            Self::DeleteApp => "delete app",
            Self::ListIps => "list the addresses of app",
            Self::AssignIp => "assign an address to app",
            Self::ListSecrets => "list the secrets of app",
            Self::ChangeSecrets => "change the secrets of app",
            Self::ListVolumes => "list the volumes of app",
            Self::CreateVolume => "create a volume in app",
            Self::ExtendVolume => "extend volume",
            Self::KeepSnapshots => "set how long to keep snapshots of volume",
            Self::ListSnapshots => "list the snapshots of volume",
            Self::ListMachines => "list the machines of app",
            Self::GetMachine => "look up machine",
            Self::CreateMachine => "create a machine in app",
            Self::UpdateMachine => "update machine",
            Self::StartMachine => "start machine",
            Self::RestartMachine => "restart machine",
            Self::WaitForMachine => "wait for machine",
            Self::TakeLease => "take the lease of machine",
            Self::ReadLease => "read the lease of machine",
            Self::ReleaseLease => "release the lease of machine",
            Self::ListCertificates => "list the certificates of app",
            Self::RequestCertificate => "request a certificate for",
            Self::GetCertificate => "look up the certificate of",
            Self::CheckCertificate => "check the certificate of",
            Self::RemoveCertificate => "remove the certificate of",
            Self::ListRegions => "list the regions",
            Self::FindRoom => "ask which regions have room for organisation",
        }
    }
}

/// What was asked, of what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// What one call asks for.
    pub action: Action,
    /// The app, machine, volume or host name; empty where there is none.
    pub subject: String,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action.words())?;
        match self.subject.as_str() {
            "" => Ok(()),
            subject => write!(f, " {subject}"),
        }
    }
}
