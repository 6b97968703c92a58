//! The one binary: `offers <verb>`. The program is in the library, or its futures would be compiled twice.

use std::process::ExitCode;

/// A third of the service's time went into the system's allocator, which does not like many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    offers::cli::main()
}
