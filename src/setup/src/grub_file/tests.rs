use super::*;
use crate::splice::spliced;

fn corrected(text: &[u8]) -> Vec<u8> {
    let file = GrubFile::parse(text).unwrap();
    spliced(text, file.corrections(Vendor::Intel).unwrap().0)
}

fn added(text: &[u8]) -> Vec<u8> {
    let file = GrubFile::parse(text).unwrap();
    spliced(text, vec![file.added(text, "iommu=pt")])
}

fn line_of(files: &[&[u8]]) -> String {
    let mut variables = Variables::default();
    for file in files {
        variables.source(&GrubFile::parse(file).unwrap());
    }
    String::from_utf8(variables.line()).unwrap()
}

/// What Debian 12 installs.
const DEBIAN: &[u8] = b"# If you change this file, run 'update-grub' afterwards.\n\
    GRUB_DEFAULT=0\n\
    GRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`\n\
    GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n\
    GRUB_CMDLINE_LINUX=\"\"\n\
    #GRUB_CMDLINE_LINUX=\"iommu=off\"\n";

#[test]
fn the_file_of_debian_is_understood() {
    assert_eq!(line_of(&[DEBIAN]), " quiet");
    assert_eq!(corrected(DEBIAN), DEBIAN);
}

#[test]
fn a_later_file_sees_what_an_earlier_one_set() {
    let cloud = b"GRUB_CMDLINE_LINUX_DEFAULT='console=ttyS0'\n";
    let ours = b"GRUB_CMDLINE_LINUX_DEFAULT=\"${GRUB_CMDLINE_LINUX_DEFAULT} iommu=pt\"\n";
    let other = b"export GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX a\"\n";
    assert_eq!(line_of(&[DEBIAN, ours, cloud, other]), " a console=ttyS0");
    assert_eq!(line_of(&[DEBIAN, cloud, ours]), " console=ttyS0 iommu=pt");
}

#[test]
fn quotes_comments_and_continued_lines_are_read_as_the_shell_does() {
    for (text, line) in [
        ("GRUB_CMDLINE_LINUX=a\\ b", "a b "),
        ("GRUB_CMDLINE_LINUX='a \\$b'", "a \\$b "),
        ("GRUB_CMDLINE_LINUX=\"a \\\"b c\\\"\"", "a \"b c\" "),
        ("GRUB_CMDLINE_LINUX=a'b'\"c\" # d", "abc "),
        ("GRUB_CMDLINE_LINUX=\"a \\\n  b\"", "a   b "),
        ("GRUB_CMDLINE_LINUX=", " "),
        ("X='\nGRUB_CMDLINE_LINUX=a\n'", " "),
        ("echo GRUB_CMDLINE_LINUX=a", " "),
        ("if true; then GRUB_CMDLINE_LINUX=a; fi", "a "),
        ("GRUB_CMDLINE_LINUX=\"a\"\r\n", "a "),
    ] {
        assert_eq!(line_of(&[text.as_bytes()]), line, "{text}");
    }
}

#[test]
fn a_wrong_value_is_replaced_and_nothing_else() {
    let text = b"#\xff\xfe\r\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=off \xe4\"\r\n\
                 GRUB_CMDLINE_LINUX='iommu=off'\nX=1";
    assert_eq!(
        corrected(text),
        b"#\xff\xfe\r\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=on \xe4\"\r\n\
          GRUB_CMDLINE_LINUX='iommu=pt'\nX=1"
    );
    let text = b"GRUB_CMDLINE_LINUX=\"a \\\n intel_iommu=off \\\n b\"";
    assert_eq!(
        corrected(text),
        b"GRUB_CMDLINE_LINUX=\"a \\\n intel_iommu=on \\\n b\""
    );
}

#[test]
fn a_parameter_that_goes_takes_its_space_along() {
    let text = b"GRUB_CMDLINE_LINUX='quiet amd_iommu=off splash'\n";
    let file = GrubFile::parse(text).unwrap();
    let (splices, said) = file.corrections(Vendor::Amd).unwrap();
    assert_eq!(
        spliced(text, splices),
        b"GRUB_CMDLINE_LINUX='quiet splash'\n"
    );
    assert_eq!(said, ["take out 'amd_iommu=off'"]);
}

#[test]
fn parameters_are_added_in_every_way_of_quoting() {
    for (text, result) in [
        ("=\"quiet\"\n", "=\"quiet iommu=pt\"\n"),
        ("='quiet'", "='quiet iommu=pt'"),
        ("=\"\"", "=\"iommu=pt\""),
        ("=''\n", "='iommu=pt'\n"),
        ("=\n", "=\"iommu=pt\"\n"),
        ("=quiet # x\n", "=\"quiet iommu=pt\" # x\n"),
        ("=a\\ b", "=a\\ b\" iommu=pt\""),
        ("=\"a \\\n b \"\n", "=\"a \\\n b iommu=pt\"\n"),
        ("='a'b", "='a'b\" iommu=pt\""),
        ("=\"quiet\"\r\n", "=\"quiet iommu=pt\"\r\n"),
    ] {
        let name = "GRUB_CMDLINE_LINUX_DEFAULT";
        let text = format!("A=1\n{name}{text}");
        let result = format!("A=1\n{name}{result}");
        assert_eq!(
            String::from_utf8(added(text.as_bytes())).unwrap(),
            result,
            "{text}"
        );
    }
    assert_eq!(
        added(b"A=1"),
        b"A=1\nGRUB_CMDLINE_LINUX_DEFAULT=\"iommu=pt\"\n"
    );
}

#[test]
fn the_last_assignment_is_the_one_that_counts() {
    let text = b"GRUB_CMDLINE_LINUX_DEFAULT=a\nGRUB_CMDLINE_LINUX_DEFAULT=\"b\"\n";
    assert_eq!(
        added(text),
        b"GRUB_CMDLINE_LINUX_DEFAULT=a\nGRUB_CMDLINE_LINUX_DEFAULT=\"b iommu=pt\"\n"
    );
}

#[test]
fn what_is_not_understood_is_not_edited() {
    assert_eq!(
        GrubFile::parse(b"A=1\nB=\"x\n"),
        Err("the quote in line 2 is never closed".to_owned())
    );
    let file = GrubFile::parse(b"GRUB_CMDLINE_LINUX=intel_'iommu=off'").unwrap();
    assert_eq!(
        file.corrections(Vendor::Intel),
        Err("'intel_iommu=off' is written with quotes or line ends inside".to_owned())
    );
}

/// What a shell makes of files that it sources one after the other; `None` where there is none.
fn line_of_shell(files: &[&[u8]]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut script = String::new();
    for (index, file) in files.iter().enumerate() {
        std::fs::write(folder.path().join(index.to_string()), file).unwrap();
        script += &format!(". ./{index}; ");
    }
    script += "printf '%s %s' \"$GRUB_CMDLINE_LINUX\" \"$GRUB_CMDLINE_LINUX_DEFAULT\"";
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env_clear()
        .output();
    match output {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED: there is no sh here");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_shell_reads_the_same_before_and_after_an_edit() {
    for text in [
        "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX='a \\b'\n",
        "GRUB_CMDLINE_LINUX_DEFAULT=\"a \\\n b\\$c \\\"d e\\\"\" # 'x\n",
        "GRUB_CMDLINE_LINUX_DEFAULT=a\\ b'c d'\"e\\x\"\nX='#\n' # y\n",
        "GRUB_CMDLINE_LINUX_DEFAULT=quiet; GRUB_CMDLINE_LINUX=${GRUB_CMDLINE_LINUX}x",
        "if true; then\n  GRUB_CMDLINE_LINUX_DEFAULT='a#b'\nfi\nY=\"$(printf \"a b\")\"",
        "GRUB_CMDLINE_LINUX_DEFAULT=\nGRUB_CMDLINE_LINUX=\"iommu=off \\\n c\"\n",
        "GRUB_CMDLINE_LINUX='x'\nGRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX y\"",
    ] {
        let after = added(&corrected(text.as_bytes()));
        for file in [text.as_bytes(), &after] {
            if let Some(line) = line_of_shell(&[file]) {
                assert_eq!(line_of(&[file]), line, "{}", String::from_utf8_lossy(file));
            }
        }
        assert!(line_of(&[&after]).ends_with("iommu=pt"), "{text}");
    }
}
