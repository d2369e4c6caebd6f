//! Where objects lie: one trait, its locations and its layers
