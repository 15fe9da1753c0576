//! Runs the whole agent for the tests.
