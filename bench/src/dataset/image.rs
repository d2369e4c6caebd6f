//! Images as scanners make them: a small header, then 12-bit samples in 16-bit little-endian words.
//!
//! A bright body on a dark ground. The body is a few smooth hills under the noise of a detector;
//! the ground is almost black. Half a mebibyte to one.

use crate::chance::Chance;

pub fn file(chance: &mut Chance) -> Vec<u8> {
    let (width, height) = *chance.pick(&SIZES);
    let mut out = header(chance, width, height);
    let hills: Vec<Hill> = (0..chance.between(3, 7)).map(|_| Hill::new(chance)).collect();
    let noise = chance.between(12, 40);
    for y in 0..height {
        for x in 0..width {
            // Thousandths of the image's sides, from its centre.
            let (u, v) = (x * 2000 / width - 1000, y * 2000 / height - 1000);
            let sample = if u * u + v * v * 5 / 4 < BODY {
                let height: i64 = hills.iter().map(|hill| hill.height(u, v)).sum();
                let grain = chance.below(noise) + chance.below(noise);
                300 + u / 8 + height + grain as i64
            } else {
                (chance.below(16) / 13) as i64
            };
            out.extend_from_slice(&(sample.clamp(0, SAMPLE_MAX) as u16).to_le_bytes());
        }
    }
    out
}

struct Hill {
    u: i64,
    v: i64,
    top: i64,
    /// The square of its radius.
    spread: i64,
}

impl Hill {
    fn new(chance: &mut Chance) -> Self {
        let radius = chance.between(200, 900) as i64;
        Self {
            u: chance.below(1200) as i64 - 600,
            v: chance.below(1200) as i64 - 600,
            top: chance.between(100, 900) as i64,
            spread: radius * radius,
        }
    }

    fn height(&self, u: i64, v: i64) -> i64 {
        let (du, dv) = (u - self.u, v - self.v);
        let far = du * du + dv * dv;
        if far < self.spread { self.top * (self.spread - far) / self.spread } else { 0 }
    }
}

/// 128 bytes of nothing, a magic word, and elements with a tag, a kind, a length and a value.
fn header(chance: &mut Chance, width: i64, height: i64) -> Vec<u8> {
    let mut out = vec![0; 128];
    out.extend_from_slice(b"DICM");
    let mut element = |group: u16, tag: u16, kind: &[u8; 2], value: &[u8]| {
        out.extend_from_slice(&group.to_le_bytes());
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(kind);
        out.extend_from_slice(&(value.len() as u16).to_le_bytes());
        out.extend_from_slice(value);
    };
    for tag in [0x18, 0x0d, 0x0e] {
        let uid = format!("1.2.826.0.1.{:020}.{:08}", chance.number(), chance.below(1 << 26));
        element(0x20, tag, b"UI", &uid.as_bytes()[..uid.len() & !1]);
    }
    element(0x28, 0x10, b"US", &(height as u16).to_le_bytes());
    element(0x28, 0x11, b"US", &(width as u16).to_le_bytes());
    element(0x28, 0x100, b"US", &16u16.to_le_bytes());
    element(0x28, 0x101, b"US", &12u16.to_le_bytes());
    out
}

const SAMPLE_MAX: i64 = 4095;
const BODY: i64 = 1_150_000;
const SIZES: [(i64, i64); 5] = [(512, 512), (640, 512), (512, 768), (704, 704), (512, 1020)];
