//! One directory with very many small files: what mail stores and caches do to a backup.

use crate::{chance::Chance, files};
use holdfast_common::Result;
use std::{io::Write, path::Path};

/// `count` files of 16 to 255 bytes in `dir` itself.
pub fn generate(dir: &Path, count: u64, seed: u64) -> Result<()> {
    for number in 0..count {
        let mut chance = Chance::new(seed, "flat", number);
        let mut bytes = [0; 256];
        let length = chance.between(16, 256) as usize;
        chance.fill(&mut bytes[..length]);
        let path = dir.join(format!("{:016x}-{number}", chance.number()));
        let mut out = files::create(&path)?;
        out.write_all(&bytes[..length])
            .and_then(|()| out.flush())
            .map_err(|error| files::failed("write", &path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_lie_in_one_directory_and_differ() {
        let dir = tempfile::tempdir().unwrap();
        generate(dir.path(), 300, 1).unwrap();
        let files = files::list(dir.path()).unwrap();
        assert_eq!(files.len(), 300);
        assert!(files.iter().all(|file| file.path.parent() == Some(dir.path())));
        assert!(files.iter().all(|file| (16..256).contains(&file.bytes)));
        let contents: std::collections::BTreeSet<_> =
            files.iter().map(|file| std::fs::read(&file.path).unwrap()).collect();
        assert_eq!(contents.len(), 300);
    }
}
