//! `SoftHSM`: PKCS#11 tokens in a directory. Whoever uses it names its configuration in the
//! environment.

use crate::server::output;
use std::path::{Path, PathBuf};

pub const PIN: &str = "135790";
const SO_PIN: &str = "97531086";

#[derive(Debug)]
pub struct SoftHsm {
    directory: tempfile::TempDir,
}

impl SoftHsm {
    /// With one token, `backup`.
    pub fn new() -> Self {
        let made = tempfile::Builder::new().prefix("holdfast-token-").tempdir();
        let directory = made.unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let hsm = Self { directory };
        let tokens = hsm.tokens();
        std::fs::create_dir(&tokens).unwrap_or_else(|error| panic!("{error}"));
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        std::fs::write(hsm.configuration(), text).unwrap_or_else(|error| panic!("{error}"));
        hsm.make_token("backup");
        hsm
    }

    /// What `SOFTHSM2_CONF` is to be.
    pub fn configuration(&self) -> PathBuf {
        self.directory.path().join("softhsm2.conf")
    }

    pub fn module(&self) -> &'static Path {
        Path::new("/usr/lib/softhsm/libsofthsm2.so")
    }

    /// The KEK as configuration names it, with its PIN in a file.
    pub fn kek(&self, object: &str, pin: &Path) -> String {
        let (module, pin) = (self.module().display(), pin.display());
        format!("pkcs11:token=backup;object={object}?module-path={module}&pin-source=file:{pin}")
    }

    /// Takes the token away, or puts it back.
    pub fn unplug(&self, is_away: bool) {
        let aside = self.directory.path().join("aside");
        let (from, to) = if is_away { (self.tokens(), aside) } else { (aside, self.tokens()) };
        if !is_away {
            std::fs::remove_dir(&to).unwrap_or_else(|error| panic!("{error}"));
        }
        std::fs::rename(from, to).unwrap_or_else(|error| panic!("{error}"));
        if is_away {
            std::fs::create_dir(self.tokens()).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    fn make_token(&self, label: &str) {
        let conf = format!("SOFTHSM2_CONF={}", self.configuration().display());
        let arguments = [
            &conf,
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            SO_PIN,
        ];
        output(Path::new("env"), &arguments);
    }

    fn tokens(&self) -> PathBuf {
        self.directory.path().join("tokens")
    }
}

impl Default for SoftHsm {
    fn default() -> Self {
        Self::new()
    }
}
