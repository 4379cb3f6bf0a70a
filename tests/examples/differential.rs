//! `scripts/differential`: the predictor of IOMMU groups against Linux, on machines at random.

use std::io::Write as _;
use std::process::ExitCode;

use vfioctl_tests::differential::command::Request;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = Request::parse(&args).map(|request| request.run(&mut std::io::stdout()));
    let error = match done {
        Ok(Ok(true)) => return ExitCode::SUCCESS,
        Ok(Ok(false)) => return ExitCode::FAILURE,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    let _ = writeln!(std::io::stderr(), "differential: {error}");
    ExitCode::from(2)
}
