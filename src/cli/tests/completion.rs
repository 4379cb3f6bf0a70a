//! The completion for bash, in a real bash, with a program in the place of vfioctl that writes
//! down what it is asked.

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::Command;

    /// What bash asks and gets: the words as bash has broken them, and `COMP_WORDBREAKS`.
    fn complete(breaks: &str, words: &[&str], line: &str, answers: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("vfioctl");
        let asked = folder.path().join("asked");
        let script = format!(
            "#!/bin/sh\nshift\nprintf '%s|' \"$_CLAP_COMPLETE_INDEX\" \"$@\" >'{}'\n\
             printf '%s' '{answers}' | tr ' ' '\\013'\n",
            asked.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let wrapper = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions/vfioctl.bash");
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let bash = format!(
            "source '{}'; COMP_WORDBREAKS=$' \\t\\n{breaks}'; COMP_WORDS=({}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE='{line}'; \
             COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9; PATH='{}':$PATH; _vfioctl; \
             printf '%s ' \"${{COMPREPLY[@]}}\"",
            wrapper.display(),
            words.join(" "),
            folder.path().display(),
        );
        let output = match Command::new("bash").args(["--norc", "-c", &bash]).output() {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("SKIPPED: there is no bash here");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let asked = std::fs::read_to_string(asked).unwrap_or_default();
        let replied = String::from_utf8(output.stdout).unwrap();
        Some(format!("{asked} -> {}", replied.trim_end()))
    }

    #[test]
    fn words_that_bash_breaks_are_joined_and_answers_are_cut() {
        let both = "0000:01:00.0 0000:01:00.1";
        let cases: [(&str, &[&str], &str, &str, &str); 6] = [
            (
                ":=",
                &["vfioctl", "show", "0000", ":", "01"],
                "vfioctl show 0000:01",
                both,
                "2|vfioctl|show|0000:01| -> 01:00.0 01:00.1",
            ),
            (
                ":=",
                &["vfioctl", "show", "0000", ":"],
                "vfioctl show 0000:",
                both,
                "2|vfioctl|show|0000:| -> 01:00.0 01:00.1",
            ),
            (
                "",
                &["vfioctl", "show", "0000:01"],
                "vfioctl show 0000:01",
                both,
                "2|vfioctl|show|0000:01| -> 0000:01:00.0 0000:01:00.1",
            ),
            (
                ":=",
                &["vfioctl", "show", ""],
                "vfioctl show ",
                both,
                "2|vfioctl|show|| -> 0000:01:00.0 0000:01:00.1",
            ),
            (
                ":=",
                &["vfioctl", "bind", "0000", ":", "01", ":", "00.0", "--p"],
                "vfioctl bind 0000:01:00.0 --p",
                "--plan",
                "3|vfioctl|bind|0000:01:00.0|--p| -> --plan",
            ),
            (
                ":=",
                &[
                    "vfioctl", "vm", "create", "a", "--device", "=", "0000", ":", "01",
                ],
                "vfioctl vm create a --device=0000:01",
                "--device=0000:01:00.0",
                "4|vfioctl|vm|create|a|--device=0000:01| -> 01:00.0",
            ),
        ];
        for (breaks, words, line, answers, expected) in cases {
            let Some(found) = complete(breaks, words, line, answers) else {
                return;
            };
            assert_eq!(found, expected, "{line}");
        }
    }
}
