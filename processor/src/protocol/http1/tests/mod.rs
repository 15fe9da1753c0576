//! Connections as the kernel would tell them, and what must and must not be made of them.

mod bodies;
mod bounds;
mod cut;
mod ends;
mod ladder;
mod noise;
mod order;
mod pipelines;
mod wire;
