//! Where the bytes of a content stream lie in their file.
//!
//! The stream is the file's data ranges, end to end. A manifest may be hostile: ranges that
//! overlap, go backwards or reach beyond the file's size are refused before anything is written.

use super::inside::shown;
use holdfast_common::{Code, Error, Result, limits};
use holdfast_seal::manifest::entry::{Entry, Range};

#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// `(where the range begins in the stream, the range)`, ascending.
    ranges: Vec<(u64, Range)>,
    length: u64,
}

impl Layout {
    pub(crate) fn of(entry: &Entry) -> Result<Self> {
        let listed = entry.content.as_ref().and_then(|content| content.ranges.as_deref());
        let whole = [Range { offset: 0, length: entry.size }];
        Self::new(listed.unwrap_or(&whole), entry.size).ok_or_else(|| {
            Error::new(
                Code::ManifestDamaged,
                format!("the data ranges of `{}` make no sense", shown(&entry.path)),
            )
        })
    }

    fn new(listed: &[Range], size: u64) -> Option<Self> {
        if listed.len() > limits::SPARSE_RANGES_MAX {
            return None;
        }
        let (mut ranges, mut length, mut end) = (Vec::with_capacity(listed.len()), 0u64, 0u64);
        for range in listed {
            if range.offset < end {
                return None;
            }
            end = range.offset.checked_add(range.length).filter(|end| *end <= size)?;
            ranges.push((length, *range));
            length += range.length;
        }
        Some(Self { ranges, length })
    }

    /// How long the stream is.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Where the last byte of the stream lies, and one more.
    pub(crate) fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |(_, range)| range.offset + range.length)
    }

    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range> + '_ {
        self.ranges.iter().map(|(_, range)| *range)
    }

    /// The places in the file of `length` bytes of the stream: `(offset in the file, length)`.
    /// `None` when the stream does not have them.
    pub(crate) fn places(
        &self,
        from: u64,
        length: u64,
    ) -> Option<impl Iterator<Item = (u64, u64)> + '_> {
        let end = from.checked_add(length).filter(|end| *end <= self.length)?;
        let first = self.ranges.partition_point(|(start, range)| start + range.length <= from);
        Some(self.ranges[first..].iter().take_while(move |(start, _)| *start < end).filter_map(
            move |(start, range)| {
                let (low, high) = (from.max(*start), end.min(start + range.length));
                (low < high).then(|| (range.offset + (low - start), high - low))
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_that_make_no_sense_are_refused() {
        let range = |offset, length| Range { offset, length };
        assert!(Layout::new(&[range(0, 11)], 10).is_none(), "beyond the size");
        assert!(Layout::new(&[range(4, 2), range(5, 1)], 10).is_none(), "overlap");
        assert!(Layout::new(&[range(4, 2), range(0, 1)], 10).is_none(), "backwards");
        assert!(Layout::new(&[range(u64::MAX, 2)], u64::MAX).is_none(), "overflow");
        assert!(Layout::new(&vec![range(0, 0); limits::SPARSE_RANGES_MAX + 1], 10).is_none());
        assert_eq!(Layout::new(&[range(0, 2), range(2, 2)], 10).map(|l| l.length()), Some(4));
        let layout = Layout::new(&[range(0, 2)], 10).unwrap();
        assert!(layout.places(1, 2).is_none(), "beyond the stream");
        assert!(layout.places(u64::MAX, 2).is_none());
    }

    proptest! {
        #[test]
        fn every_byte_of_the_stream_has_the_place_that_counting_gives(
            steps in prop::collection::vec((0u64..5, 0u64..5), 0..8),
            from in 0u64..20,
            length in 0u64..20,
        ) {
            let (mut at, mut ranges, mut places) = (0, Vec::new(), Vec::new());
            for (hole, length) in steps {
                ranges.push(Range { offset: at + hole, length });
                places.extend(at + hole..at + hole + length);
                at += hole + length;
            }
            let layout = Layout::new(&ranges, at).unwrap();
            let expected = usize::try_from(from).ok().and_then(|from| {
                places.get(from..from + usize::try_from(length).ok()?)
            });
            let given: Option<Vec<u64>> = layout.places(from, length).map(|pieces| {
                pieces.flat_map(|(offset, length)| offset..offset + length).collect()
            });
            prop_assert_eq!(given.as_deref(), expected, "{:?}", ranges);
        }
    }
}
