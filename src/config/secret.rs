//! The secret behind access tokens.

use std::{
    fmt::{self, Write as _},
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    path::Path,
};

use super::ConfigError;

/// Fewer bytes can be guessed by trying.
const LEAST_BYTES: usize = 32;
const FILE: &str = "jwt-secret";
const IN_FILE: &str = "DATA_DIR/jwt-secret";

/// At least 32 secret bytes, which no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn from_text(setting: &'static str, text: &str) -> Result<Self, ConfigError> {
        let bytes = text.trim().as_bytes();
        if bytes.len() < LEAST_BYTES {
            let message = format!("has {} bytes, at least {LEAST_BYTES} are required", bytes.len());
            return Err(ConfigError::new(setting, message));
        }
        Ok(Self(bytes.to_vec()))
    }

    /// Reads the secret of a folder, and makes it first if need be.
    pub(super) fn of_folder(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join(FILE);
        let failed =
            |error: std::io::Error| ConfigError::new("DATA_DIR", format!("{}: {error}", path.display()));
        match fs::read_to_string(&path) {
            Ok(text) => return Self::from_text(IN_FILE, &text),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        fs::create_dir_all(folder).map_err(failed)?;
        // Written aside and linked in place, so that of two servers starting at once one wins and both read it whole.
        let aside = folder.join(format!("{FILE}.{}", std::process::id()));
        let made = write_new(&aside).and_then(|()| match fs::hard_link(&aside, &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
        let _ = fs::remove_file(&aside);
        made.map_err(failed)?;
        Self::from_text(IN_FILE, &fs::read_to_string(&path).map_err(failed)?)
    }
}

fn write_new(path: &Path) -> std::io::Result<()> {
    let bytes: [u8; LEAST_BYTES] = rand::random();
    let mut text = String::new();
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
