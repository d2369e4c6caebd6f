//! Knows database pages and disk images when it sees them.
//!
//! Pure looks at the first 64 KiB: header fields that must make sense together, page after page, so
//! that a lucky byte does not decide. A database may be writing while we look: a page of zeros is a
//! page not yet used, and no checksum is computed.

use holdfast_common::limits;

/// A boot sector in a small file is a boot sector, not a disk.
const DISK_IMAGE_BYTES_MIN: u64 = 64 * limits::MIB as u64;

const SECTOR: usize = 512;
const POSTGRESQL_PAGE: usize = 8192;
const INNODB_PAGE: usize = 16384;

pub(super) fn is_database(head: &[u8], size: u64) -> bool {
    head.starts_with(b"SQLite format 3\0") || is_postgresql(head, size) || is_innodb(head, size)
}

pub(super) fn is_disk_image(head: &[u8], size: u64) -> bool {
    head.starts_with(b"QFI\xfb")
        || size >= DISK_IMAGE_BYTES_MIN && (has_partition_table(head) || has_gpt(head))
}

/// Every page of the head is one of PostgreSQL's (or unused), and at least one is in use.
fn is_postgresql(head: &[u8], size: u64) -> bool {
    size.is_multiple_of(POSTGRESQL_PAGE as u64)
        && all_pages(head, POSTGRESQL_PAGE, |_, page| is_postgresql_page(page))
}

/// `PageHeaderData`: lower ≤ upper ≤ special within the page, a known layout, no unknown flag.
fn is_postgresql_page(page: &[u8]) -> bool {
    let field = |at: usize| usize::from(u16::from_le_bytes([page[at], page[at + 1]]));
    let (flags, lower, upper, special) = (field(10), field(12), field(14), field(16));
    let (size, layout) = (field(18) & 0xff00, field(18) & 0x00ff);
    size == POSTGRESQL_PAGE
        && (1..=4).contains(&layout)
        && flags & !0x7 == 0
        && 24 <= lower
        && lower <= upper
        && upper <= special
        && special <= POSTGRESQL_PAGE
}

/// Pages carry their own number and the tablespace's; the first three have fixed types.
fn is_innodb(head: &[u8], size: u64) -> bool {
    let space = head.get(34..38);
    size.is_multiple_of(INNODB_PAGE as u64)
        && head.len() >= INNODB_PAGE
        && head[24..26] == [0, 8]
        && all_pages(head, INNODB_PAGE, |number, page| {
            let kind = u16::from_be_bytes([page[24], page[25]]);
            page[4..8] == (number as u32).to_be_bytes()
                && page.get(34..38) == space
                && match number {
                    0 => kind == 8,
                    1 => kind == 5,
                    2 => kind == 3,
                    _ => true,
                }
        })
}

fn all_pages(head: &[u8], size: usize, is_page: impl Fn(usize, &[u8]) -> bool) -> bool {
    let mut used = 0;
    for (number, page) in head.chunks_exact(size).enumerate() {
        if is_page(number, page) {
            used += 1;
        } else if page.iter().any(|byte| *byte != 0) {
            return false;
        }
    }
    used > 0
}

/// An MBR: its signature and four rows, each empty or with a type, a start and a length.
fn has_partition_table(head: &[u8]) -> bool {
    let Some(sector) = head.get(..SECTOR) else { return false };
    let rows: Vec<&[u8]> = sector[446..510].chunks_exact(16).collect();
    let is_row = |row: &&[u8]| {
        let empty = row.iter().all(|byte| *byte == 0);
        let (start, length) = (&row[8..12], &row[12..16]);
        empty || row[0] & 0x7f == 0 && row[4] != 0 && start != [0; 4] && length != [0; 4]
    };
    sector[510..] == [0x55, 0xaa] && rows.iter().all(is_row) && rows.iter().any(|row| row[4] != 0)
}

/// The header of a GUID partition table, for sectors of 512 bytes and of 4 KiB.
fn has_gpt(head: &[u8]) -> bool {
    [SECTOR, 4096].iter().any(|at| head.get(*at..at + 8) == Some(b"EFI PART"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = 1 << 30;

    fn postgresql_page(lower: u16, upper: u16, special: u16) -> Vec<u8> {
        let mut page = vec![0xab; POSTGRESQL_PAGE];
        page[10..12].copy_from_slice(&1u16.to_le_bytes());
        page[12..14].copy_from_slice(&lower.to_le_bytes());
        page[14..16].copy_from_slice(&upper.to_le_bytes());
        page[16..18].copy_from_slice(&special.to_le_bytes());
        page[18..20].copy_from_slice(&0x2004u16.to_le_bytes());
        page
    }

    fn innodb(pages: u32) -> Vec<u8> {
        let mut head = Vec::new();
        for (number, kind) in (0..pages).zip([8u16, 5, 3, 17855]) {
            let mut page = vec![0xcd; INNODB_PAGE];
            page[4..8].copy_from_slice(&number.to_be_bytes());
            page[24..26].copy_from_slice(&kind.to_be_bytes());
            page[34..38].copy_from_slice(&77u32.to_be_bytes());
            head.extend(page);
        }
        head
    }

    fn disk(boot: u8) -> Vec<u8> {
        let mut head = vec![0; 4096];
        head[446..462].copy_from_slice(&[boot, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0]);
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        head
    }

    #[test]
    fn postgresql_heap_and_index_pages_are_known_beside_unused_ones() {
        let heap = postgresql_page(28, 8000, 8192);
        let index = postgresql_page(40, 4000, 8176);
        let head = [heap.clone(), vec![0; POSTGRESQL_PAGE], index].concat();
        assert!(is_database(&head, LARGE));
        assert!(!is_database(&head, LARGE + 1), "not a whole number of pages");
        assert!(!is_database(&[heap, vec![1; POSTGRESQL_PAGE]].concat(), LARGE));
        assert!(!is_database(&vec![0; 65536], LARGE), "zeros alone say nothing");
    }

    #[test]
    fn postgresql_pages_whose_fields_contradict_each_other_are_not_known() {
        for (lower, upper, special) in [(20, 100, 8192), (200, 100, 8192), (28, 8192, 8000)] {
            assert!(!is_database(&postgresql_page(lower, upper, special), LARGE));
        }
        let mut page = postgresql_page(28, 8000, 8192);
        page[11] = 0xff;
        assert!(!is_database(&page, LARGE), "unknown flags");
    }

    #[test]
    fn innodb_pages_are_known_by_number_type_and_tablespace() {
        assert!(is_database(&innodb(4), LARGE));
        let mut wrong_number = innodb(4);
        wrong_number[INNODB_PAGE * 3 + 7] = 9;
        assert!(!is_database(&wrong_number, LARGE));
        let mut wrong_type = innodb(4);
        wrong_type[INNODB_PAGE + 25] = 9;
        assert!(!is_database(&wrong_type, LARGE));
        assert!(!is_database(&innodb(4)[..100], LARGE));
    }

    #[test]
    fn disk_images_are_known_when_they_are_large() {
        assert!(is_disk_image(&disk(0x80), LARGE));
        assert!(!is_disk_image(&disk(0x80), DISK_IMAGE_BYTES_MIN - 1));
        assert!(!is_disk_image(&disk(0x17), LARGE), "no such boot flag");
        let mut gpt = vec![0; 4096];
        gpt[512..520].copy_from_slice(b"EFI PART");
        assert!(is_disk_image(&gpt, LARGE));
        assert!(is_disk_image(b"QFI\xfb\0\0\0\x03", 300_000));
        assert!(!is_disk_image(b"QFI", LARGE));
    }
}
