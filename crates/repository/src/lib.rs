//! The ciphertext side: packs, index segments, reach, points, layout
