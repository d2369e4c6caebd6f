//! A cluster of several members: real processes that join, lose each other and come back.

mod joining;
mod losing;
mod placing;
mod recovering;
mod scene;
