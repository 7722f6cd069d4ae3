//! The rules of the repository as tests, and the generated files.
