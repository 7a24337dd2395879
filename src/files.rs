//! Regular files: replaced as a whole ([`Replacement`]); inside the crate also read within a limit.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Links that a path may lead through, as on Linux.
const MAX_LINKS: usize = 40;
/// Characters of a file's name that the name of its temporary file repeats.
const KEPT_NAME: usize = 60;
/// How long a temporary file that no process writes to has to lie unchanged until it is removed.
const LEFT_OVER: Duration = Duration::from_secs(60);
/// The longest text file (charset, word list, list of labels) in bytes.
pub(crate) const MAX_TEXT: u64 = 1 << 30;

/// Opens a regular file for reading. A pipe could block, and a device could be endless: both are
/// errors, and so is a folder.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Before opening, which already blocks on a pipe without a writer; and again on what was opened.
    check_regular(&fs::metadata(path)?)?;
    let file = File::open(path)?;
    check_regular(&file.metadata()?)?;
    Ok(file)
}

fn check_regular(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(())
}

/// Reads a regular file of at most `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let size = file.metadata()?.len();
    let too_large = |size: u64| {
        io::Error::new(ErrorKind::FileTooLarge, format!("it has {size} bytes, more than {most}"))
    };
    if size > most {
        return Err(too_large(size));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    // The file may grow meanwhile.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

/// Fills `bytes` from a place in a file. The file's own position is neither used nor moved, so that threads may share
/// it.
///
/// # Errors
/// `UnexpectedEof` if the file ends before; `Unsupported` on systems without such reads.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
pub(crate) fn read_at(file: &File, mut offset: u64, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => {
                offset += count as u64;
                bytes = &mut bytes[count..];
            }
        }
    }
    Ok(())
}

#[cfg(not(any(unix, windows)))]
pub(crate) fn read_at(_: &File, _: u64, _: &mut [u8]) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Replaces a file by one with these bytes; see [`Replacement`].
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(bytes))
}

/// Replaces a file by one that `write` fills; see [`Replacement`].
pub(crate) fn replace_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut replacement = Replacement::create(path)?;
    write(&mut replacement.file)?;
    replacement.commit()
}

/// A file that replaces another one as a whole, or leaves it as it is.
///
/// What is written goes to a file beside it, of a name that starts with a dot and holds the number of the process.
/// [`Replacement::commit`] flushes it to the disk and renames it; dropped before, it is removed, and the old file
/// stays. So does the old file if the process is killed or the disk is full.
///
/// Symbolic links stay: the file that they lead to is replaced. An existing file's permissions are
/// kept. Several threads and processes may replace the same file: the last one wins. Files that killed processes
/// left beside it are removed by the next replacement, a minute later at the earliest.
///
/// ```
/// use std::io::Write;
/// use svtrv2::files::Replacement;
///
/// let path = std::env::temp_dir().join("svtrv2-replacement.txt");
/// let mut file = Replacement::create(&path)?;
/// file.write_all(b"complete")?;
/// file.commit()?;
/// assert_eq!(std::fs::read(&path)?, b"complete");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Replacement {
    file: File,
    /// Where it is written.
    beside: PathBuf,
    /// What it replaces.
    target: PathBuf,
    /// Those of the old file, if there is one.
    permissions: Option<fs::Permissions>,
    renamed: bool,
}

impl Replacement {
    /// Begins to replace the file `path`, which need not exist.
    ///
    /// # Errors
    /// Those of the system; [`ErrorKind::InvalidInput`] if there is something at `path` that is not a regular file,
    /// or `path` names no file.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let target = behind_links(path.as_ref())?;
        let permissions = match fs::metadata(&target) {
            Ok(metadata) => {
                check_regular(&metadata)?;
                Some(metadata.permissions())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (file, beside) = create_beside(&target, permissions.is_some())?;
        Ok(Replacement { file, beside, target, permissions, renamed: false })
    }

    /// Puts the new file in the old one's place.
    ///
    /// # Errors
    /// Those of the system. The old file then stands as it was, unless flushing the folder failed.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some(permissions) = self.permissions.take() {
            self.file.set_permissions(permissions)?;
        }
        self.file.sync_all()?;
        // On some systems nobody may read a locked file. Just written, it is not taken for left over.
        let _ = self.file.unlock();
        fs::rename(&self.beside, &self.target)?;
        self.renamed = true;
        sync_folder(&self.target)
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// Where a path leads: the last of a chain of symbolic links, which need not exist.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => {
                let link = fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(link);
            }
            _ => return Ok(path),
        }
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "too many symbolic links"))
}

/// Creates a file with a name of its own beside another one; only its owner may read it if it is
/// `private`.
fn create_beside(target: &Path, private: bool) -> io::Result<(File, PathBuf)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Some(name) = target.file_name() else {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the path names no file"));
    };
    let kept: String = name.to_string_lossy().chars().take(KEPT_NAME).collect();
    remove_left_over(target, &kept);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if private {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = private;
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let beside: OsString = format!(".{kept}.{}.{number}.partial", std::process::id()).into();
        let beside = target.with_file_name(beside);
        match options.open(&beside) {
            Ok(file) => {
                // Shows that it is in use, where files can be locked.
                let _ = file.try_lock();
                return Ok((file, beside));
            }
            // Left by a process that was killed and had the same number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes temporary files beside `target` whose writers are gone.
fn remove_left_over(target: &Path, kept: &str) {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    // What cannot be listed or removed stays: it is only in the way.
    let Ok(entries) = fs::read_dir(folder.unwrap_or(Path::new("."))) else {
        return;
    };
    let start = format!(".{kept}.");
    for entry in entries.flatten() {
        let name = entry.file_name();
        let numbers = name.to_str().and_then(|name| name.strip_prefix(&start));
        let numbers = numbers.and_then(|name| name.strip_suffix(".partial"));
        let ours = |numbers: &str| numbers.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if numbers.is_some_and(ours) && is_left_over(&entry.path()).unwrap_or(false) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether nobody has written to a temporary file for a while, and nobody holds its lock.
fn is_left_over(path: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    let idle = metadata.modified()?.elapsed().unwrap_or_default() >= LEFT_OVER;
    Ok(idle && metadata.is_file() && File::open(path)?.try_lock().is_ok())
}

/// Flushes a renaming to the disk, where folders can be flushed.
fn sync_folder(file: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        match File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()) {
            // Some file systems cannot, and a folder may be writable but not readable.
            Err(error) => match error.kind() {
                ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied => {
                    Ok(())
                }
                _ => Err(error),
            },
            Ok(()) => Ok(()),
        }
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn limits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read(folder.path(), 5).unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(read(&folder.path().join("no"), 5).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"old").unwrap();
        let failed = replace_with(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(entries(folder.path()), ["file"]);
    }

    #[test]
    fn a_replacement_shows_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"old").unwrap();
        let mut dropped = Replacement::create(&path).unwrap();
        dropped.write_all(b"half of the new").unwrap();
        assert_eq!(entries(folder.path()).len(), 2);
        drop(dropped);
        let mut complete = Replacement::create(&path).unwrap();
        complete.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        complete.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(entries(folder.path()), ["file"]);
        assert!(Replacement::create(folder.path()).is_err());
    }

    #[cfg(any(unix, windows))]
    #[test]
    fn reads_at_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"0123456789").unwrap();
        let file = open(&path).unwrap();
        let mut bytes = [0; 4];
        for (offset, expected) in [(6, b"6789"), (0, b"0123"), (3, b"3456")] {
            read_at(&file, offset, &mut bytes).unwrap();
            assert_eq!(&bytes, expected);
        }
        for offset in [7, 10, u64::from(u32::MAX)] {
            let error = read_at(&file, offset, &mut bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{offset}");
        }
    }

    /// Of killed processes, and of one that writes slowly.
    #[test]
    fn left_over_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, age: u64| {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(age)).unwrap();
            file
        };
        let others = [".file.1.x.partial", ".other.1.0.partial", "file.1.0.partial"];
        for name in [".file.1.0.partial", ".file.12.34.partial"].iter().chain(&others) {
            make(name, 100);
        }
        make(".file.2.0.partial", 10);
        let slow = make(".file.3.0.partial", 100);
        slow.try_lock().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"new").unwrap();
        let mut left = vec![".file.2.0.partial", ".file.3.0.partial", "file"];
        left.extend(others);
        left.sort_unstable();
        assert_eq!(entries(folder.path()), left);
        // Its writer is done.
        drop(slow);
        replace(&path, b"new").unwrap();
        assert!(!folder.path().join(".file.3.0.partial").exists());
    }

    #[test]
    fn many_threads_on_one_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..30 {
                        replace(path, &[thread; 10_000]).unwrap();
                        let found = fs::read(path).unwrap();
                        assert!(found.len() == 10_000 && found.iter().all(|&b| b == found[0]));
                    }
                });
            }
        });
        assert_eq!(entries(folder.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let [path, link, second, dangling, circle] =
            ["file", "link", "second", "dangling", "circle"].map(|name| folder.path().join(name));
        fs::write(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        symlink("file", &link).unwrap();
        symlink(&link, &second).unwrap();
        replace(&second, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        symlink("made", &dangling).unwrap();
        replace(&dangling, b"made").unwrap();
        assert_eq!(fs::read(folder.path().join("made")).unwrap(), b"made");
        symlink("circle", &circle).unwrap();
        assert!(replace(&circle, b"never").is_err());
        for device in ["/dev/null", "/dev/full"] {
            let error = replace(Path::new(device), b"never").unwrap_err();
            assert_eq!(error.to_string(), "it is not a regular file", "{device}");
            assert!(!fs::metadata(device).unwrap().is_file());
        }
        assert!(replace(folder.path(), b"never").is_err());
    }
}
