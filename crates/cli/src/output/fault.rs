//! How a failure is told: what was tried, why it failed, what to type next.
//!
//! Both forms go to stderr and leave stdout empty. For programs the last line is one JSON object;
//! a wrong usage is told in that form too when the arguments asked for JSON.

use crate::output::Output;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use holdfast_common::{Code, Error, codes::Exit};
use serde_json::{Value, json};
use std::{ffi::OsString, io::Write, process::ExitCode};

/// Tells an error and gives its exit code.
pub fn report(output: &Output, error: &Error) -> ExitCode {
    let told = if output.is_json() { json_line(error) } else { plain(error) };
    output.remark(&told);
    ExitCode::from(error.code.exit() as u8)
}

/// Tells what clap found wrong, or what `--help` and `--version` asked for.
pub fn usage(refusal: clap::Error) -> ExitCode {
    let refusal = without_keys(refusal);
    let asked = matches!(refusal.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let _nobody_reads = refusal.print();
    if asked {
        return ExitCode::SUCCESS;
    }
    if asks_for_json(std::env::args_os()) {
        let error = Error::new(Code::UsageMalformed, first_paragraph(&refusal.to_string()));
        let _nobody_reads = writeln!(std::io::stderr().lock(), "{}", json_line(&error));
    }
    ExitCode::from(Exit::Usage as u8)
}

/// People paste keys where the name of a key's source belongs: what was typed there is not shown.
fn without_keys(mut refusal: clap::Error) -> clap::Error {
    let is_source = match refusal.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.contains("SOURCE"),
        _ => false,
    };
    if is_source {
        let hidden = ContextValue::String("…".to_owned());
        let _what_was_typed = refusal.insert(ContextKind::InvalidValue, hidden);
    }
    refusal
}

pub fn fields(error: &Error) -> Value {
    json!({
        "code": error.code.name(),
        "message": error.message,
        "cause": error.cause,
        "next": error.advice(),
        "retry": error.is_retryable(),
    })
}

fn json_line(error: &Error) -> String {
    json!({ "error": fields(error) }).to_string()
}

fn plain(error: &Error) -> String {
    let mut text = format!("error: {}: {}", error.code, error.message);
    if let Some(cause) = &error.cause {
        text.push_str(&format!("\n  because: {cause}"));
    }
    text.push_str(&format!("\n  next: {}", error.advice()));
    text
}

/// What is wrong; how the command is used comes after an empty line.
fn first_paragraph(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

fn asks_for_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let arguments: Vec<_> = arguments.collect();
    arguments.iter().any(|one| one == "--output=json")
        || arguments.windows(2).any(|two| two[0] == "--output" && two[1] == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_what_why_and_what_next() {
        let error = Error::new(Code::TokenUsed, "the host cannot join").cause("used at noon");
        assert_eq!(
            plain(&error),
            "error: token.used: the host cannot join\n  because: used at noon\n  \
             next: make a new one: `holdfast agent token`, or `holdfast cluster token` for a \
             coordinator"
        );
    }

    #[test]
    fn programs_get_every_field_and_null_for_what_is_absent() {
        let told: Value =
            serde_json::from_str(&json_line(&Error::new(Code::RunBusy, "busy"))).unwrap();
        let error = &told["error"];
        assert_eq!(error["code"], "run.policy_busy");
        assert_eq!(error["cause"], Value::Null);
        assert_eq!(error["retry"], true);
        assert!(error["next"].is_string());
    }

    #[test]
    fn json_is_recognised_in_arguments_that_cannot_be_parsed() {
        let given = |text: &str| asks_for_json(text.split(' ').map(OsString::from));
        assert!(given("holdfast --output json nonsense"));
        assert!(given("holdfast nonsense --output=json"));
        assert!(!given("holdfast nonsense --output table"));
    }
}
