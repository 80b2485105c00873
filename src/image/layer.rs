//! The image's only layer: a tar archive of the program and the volume's mount point, compressed.
//!
//! Every field that could differ from one machine or day to the next is fixed: owner, mode, times,
//! order, the header of gzip, and the encoder, which makes the same bytes on every processor.

use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::oci::{MOUNT_POINT, PROGRAM};

/// The usual compromise between time and size.
const LEVEL: Compression = Compression::new(6);

/// What RFC 1952 calls an unknown operating system.
const NO_SYSTEM: u8 = 255;

/// Returns the archive that holds `program`, uncompressed.
pub(super) fn archive(program: &[u8]) -> Vec<u8> {
    let room = program.len() + 8 * 512;
    write_archive(program, Vec::with_capacity(room))
        .expect("memory takes all bytes, and both paths are short and relative")
}

fn write_archive(program: &[u8], out: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut archive = Builder::new(out);
    let mut file = header(EntryType::Regular, 0o755);
    file.set_size(program.len() as u64);
    archive.append_data(&mut file, PROGRAM.trim_start_matches('/'), program)?;
    let mut folder = header(EntryType::Directory, 0o755);
    let name = format!("{}/", MOUNT_POINT.trim_start_matches('/'));
    archive.append_data(&mut folder, name, io::empty())?;
    archive.into_inner()
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

/// Returns `archive`, compressed with gzip.
pub(super) fn compressed(archive: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .operating_system(NO_SYSTEM)
        .write(Vec::new(), LEVEL);
    encoder
        .write_all(archive)
        .and_then(|()| encoder.finish())
        .expect("memory takes all bytes")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_archive_holds_the_program_and_the_mount_point() {
        let archive = archive(b"the program");
        let mut reader = tar::Archive::new(&archive[..]);
        let mut seen = Vec::new();
        for entry in reader.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!(header.mtime().unwrap(), 0);
            assert_eq!(header.mode().unwrap(), 0o755);
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            seen.push((path, header.entry_type(), content));
        }
        let expected = [
            (
                "onsave-server".to_owned(),
                EntryType::Regular,
                b"the program".to_vec(),
            ),
            ("srv/".to_owned(), EntryType::Directory, Vec::new()),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn compression_keeps_every_byte_and_names_no_machine() {
        let archive = archive(&[1; 10_000]);
        let layer = compressed(&archive);
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&layer[..])
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(plain, archive);
        // Magic, method, no flags (no name, no comment), no time, no level, no system.
        assert_eq!(layer[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    }
}
