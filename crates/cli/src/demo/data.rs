//! Made-up data: compressible and not, large and small, twice the same, sparse, linked. Made,
//! changed, ruined, and digested to one hash so that two directories can be compared.

use holdfast_common::{Error, Result};
use std::{
    fs::{self, File},
    io::Read,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, symlink},
    },
    path::{Path, PathBuf},
};

pub struct Data {
    pub root: PathBuf,
    pub files: usize,
    pub bytes: u64,
}

const IMAGES: u64 = 12;
const IMAGE_BYTES: usize = 3 << 20;
const NOTES: usize = 400;

impl Data {
    pub fn make(root: &Path) -> Result<Self> {
        make(root).map_err(|error| Error::io("the demo's data cannot be made", &error))?;
        let (mut files, mut bytes) = (0, 0);
        visit(root, &mut |_, meta| {
            files += usize::from(meta.is_file());
            bytes += if meta.is_file() { meta.blocks() * 512 } else { 0 };
            Ok(())
        })?;
        Ok(Self { root: root.to_owned(), files, bytes })
    }

    /// A day's work: some new, some changed, some gone.
    pub fn change(&self) -> Result<()> {
        let change = || {
            fs::write(self.root.join("images/new.raw"), noise(1000, IMAGE_BYTES))?;
            let image = File::options().write(true).open(self.root.join("images/0.raw"))?;
            image.write_all_at(b"edited in the middle", 1 << 20)?;
            fs::write(self.root.join("notes/7.txt"), "rewritten")?;
            fs::remove_file(self.root.join("notes/9.txt"))
        };
        change().map_err(|error| Error::io("the demo's data cannot be changed", &error))
    }

    pub fn ruin(&self) -> Result<()> {
        let ruin = || {
            fs::remove_dir_all(self.root.join("notes"))?;
            for number in 0..IMAGES / 2 {
                fs::write(self.root.join(format!("images/{number}.raw")), "encrypted, pay up")?;
            }
            fs::remove_file(self.root.join("database"))
        };
        ruin().map_err(|error| Error::io("the demo's data cannot be ruined", &error))
    }

    pub fn digest(&self) -> Result<blake3::Hash> {
        Self::digest_of(&self.root)
    }

    /// One hash over every path, attribute and byte below a directory.
    pub fn digest_of(root: &Path) -> Result<blake3::Hash> {
        let mut all = blake3::Hasher::new();
        visit(root, &mut |path, meta| {
            let name = path.strip_prefix(root).unwrap_or(path);
            all.update(name.as_os_str().as_bytes());
            let facts = [u64::from(meta.mode()), u64::from(meta.uid()), u64::from(meta.gid())];
            for fact in facts {
                all.update(&fact.to_le_bytes());
            }
            all.update(&meta.mtime().to_le_bytes());
            all.update(&meta.mtime_nsec().to_le_bytes());
            if meta.is_symlink() {
                all.update(fs::read_link(path)?.as_os_str().as_bytes());
            } else if meta.is_file() {
                all.update(content(path)?.as_bytes());
            }
            Ok(())
        })?;
        Ok(all.finalize())
    }
}

fn make(root: &Path) -> std::io::Result<()> {
    for dir in ["images", "notes", "links"] {
        fs::create_dir_all(root.join(dir))?;
    }
    for number in 0..IMAGES {
        fs::write(root.join(format!("images/{number}.raw")), noise(number, IMAGE_BYTES))?;
    }
    fs::write(root.join("images/0 again.raw"), noise(0, IMAGE_BYTES))?;
    for number in 0..NOTES {
        let text = format!("note {number}\n").repeat(50 + number);
        fs::write(root.join(format!("notes/{number}.txt")), text)?;
    }
    fs::write(root.join("log"), "2026-11-21 all is well\n".repeat(300_000))?;
    let database = File::create(root.join("database"))?;
    database.set_len(64 << 20)?;
    for page in 0..200 {
        database.write_all_at(&noise(500 + page, 8192), page * 300_000)?;
    }
    fs::hard_link(root.join("log"), root.join("links/hard"))?;
    symlink("../log", root.join("links/soft"))
}

/// Bytes that do not compress.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn content(path: &Path) -> std::io::Result<blake3::Hash> {
    let (mut file, mut hasher, mut buffer) = (File::open(path)?, blake3::Hasher::new(), [0; 65536]);
    loop {
        let _all_so_far = match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            read => hasher.update(&buffer[..read]),
        };
    }
}

type Visitor<'v> = &'v mut dyn FnMut(&Path, &fs::Metadata) -> std::io::Result<()>;

fn visit(dir: &Path, each: Visitor<'_>) -> Result<()> {
    walk(dir, each).map_err(|error| Error::io(format!("{} cannot be read", dir.display()), &error))
}

fn walk(dir: &Path, each: Visitor<'_>) -> std::io::Result<()> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        paths.push(entry?.path());
    }
    paths.sort();
    for path in paths {
        let meta = fs::symlink_metadata(&path)?;
        each(&path, &meta)?;
        if meta.is_dir() {
            walk(&path, each)?;
        }
    }
    Ok(())
}

pub fn largest_below(dir: &Path) -> Result<PathBuf> {
    let mut largest = (0, PathBuf::new());
    visit(dir, &mut |path, meta| {
        if meta.is_file() && meta.len() > largest.0 {
            largest = (meta.len(), path.to_owned());
        }
        Ok(())
    })?;
    Ok(largest.1)
}

/// Damages a file as a bad disk would; gives back what it was.
pub fn flip_a_bit(path: &Path) -> Result<Vec<u8>> {
    let before = fs::read(path)
        .map_err(|error| Error::io(format!("{} cannot be read", path.display()), &error))?;
    let mut damaged = before.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    put_back(path, &damaged)?;
    Ok(before)
}

pub fn put_back(path: &Path, bytes: &[u8]) -> Result<()> {
    let replace = || {
        // Objects are read-only: the name is taken over by a new file.
        if path.exists() {
            fs::remove_file(path)?;
        }
        fs::write(path, bytes)
    };
    replace().map_err(|error| Error::io(format!("{} cannot be written", path.display()), &error))
}
