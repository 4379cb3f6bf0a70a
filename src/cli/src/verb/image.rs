//! `vfioctl image`: base images. The helper has no part in it: images are files, and who may write
//! to their folder may keep them.

use vfioctl_image::{Error, ErrorKind, Import, Library, Recipe, name_for};

use crate::Done;
use crate::command_line::{CreateImage, ImageVerb, ImportImage, Place};
use crate::failure::{Failure, FailureKind};
use crate::record::{ImageListRecord, ImagePlanRecord, ImageRecord, ImagesRecord};
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl image`.
pub(super) fn run(verb: ImageVerb, session: &mut Session<'_>) -> Done {
    match verb {
        ImageVerb::Import(arguments) => import(arguments, session),
        ImageVerb::List { place } => list(&place, session),
        ImageVerb::Create(arguments) => create(arguments, session),
        ImageVerb::Rm {
            name,
            place,
            machines,
            plan,
        } => {
            let library = Library::at(place.images, None);
            if plan {
                let steps = library.plan_removal(&name, &machines).map_err(failed)?;
                return answer_plan(steps, session);
            }
            library.remove(&name, &machines).map_err(failed)?;
            let removed = name.to_string();
            session.output.answer(&ImagesRecord::Removed { removed })?;
            Ok(Verdict::Yes)
        }
    }
}

fn list(place: &Place, session: &mut Session<'_>) -> Done {
    let listing = Library::at(&place.images, None).list().map_err(failed)?;
    if listing.images.is_empty() {
        let folder = place.images.display();
        let text = format!(
            "there are no images in '{folder}'; 'vfioctl image import FILE' takes one in, \
             'vfioctl image create --from-packages' makes one"
        );
        session.output.progress(&text);
    }
    session
        .output
        .answer(&ImagesRecord::Many(ImageListRecord::from(listing)))?;
    Ok(Verdict::Yes)
}

fn import(arguments: ImportImage, session: &mut Session<'_>) -> Done {
    let library = library(arguments.place, arguments.group.as_deref(), session)?;
    let name = match arguments.name {
        Some(name) => name,
        None => name_for(&arguments.file).map_err(failed)?,
    };
    let import = Import {
        file: arguments.file,
        name,
        firmware: arguments.firmware.into(),
    };
    if arguments.plan {
        return answer_plan(import.plan(&library).map_err(failed)?, session);
    }
    let output = &mut session.output;
    let done = import.run(&library, &mut |text| output.progress(text));
    let image = ImageRecord::from(done.map_err(failed)?);
    output.answer(&ImagesRecord::One { image })?;
    Ok(Verdict::Yes)
}

fn create(arguments: CreateImage, session: &mut Session<'_>) -> Done {
    let library = library(arguments.place, arguments.group.as_deref(), session)?;
    let recipe = Recipe {
        name: arguments.name,
        suite: arguments.suite.into(),
        size: arguments.size,
        variant: arguments.variant.into(),
        include: arguments.include,
    };
    if arguments.plan {
        return answer_plan(recipe.plan(&library).map_err(failed)?, session);
    }
    let output = &mut session.output;
    let done = recipe.create(&library, &mut |text| output.progress(text));
    let image = ImageRecord::from(done.map_err(failed)?);
    output.answer(&ImagesRecord::One { image })?;
    Ok(Verdict::Yes)
}

fn answer_plan(steps: Vec<String>, session: &mut Session<'_>) -> Done {
    let plan = ImagePlanRecord { steps };
    session.output.answer(&ImagesRecord::Plan { plan })?;
    Ok(Verdict::Yes)
}

fn library(place: Place, group: Option<&str>, session: &Session<'_>) -> Result<Library, Failure> {
    let Some(group) = group else {
        return Ok(Library::at(place.images, None));
    };
    let database = session.root()?.etc.read_text("group").ok().flatten();
    match group_number(group, &database.unwrap_or_default()) {
        Some(number) => Ok(Library::at(place.images, Some(number))),
        None => Err(
            Failure::usage(format!("there is no group '{group}' on this machine"))
                .hint("name a group of /etc/group, or give its number"),
        ),
    }
}

/// The number of a group: as it was given, or of its name in `/etc/group` (`group(5)`).
fn group_number(group: &str, database: &str) -> Option<u32> {
    if group.bytes().all(|byte| byte.is_ascii_digit()) {
        return group.parse().ok();
    }
    database.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(group);
        fields.nth(1)?.parse().ok().filter(|_| is_it)
    })
}

fn failed(error: Error) -> Failure {
    let (kind, name) = match error.kind() {
        ErrorKind::Refused => (FailureKind::No, "ImageRefused"),
        ErrorKind::Exists => (FailureKind::No, "ImageExists"),
        ErrorKind::InUse => (FailureKind::No, "ImageInUse"),
        ErrorKind::Hidden => (FailureKind::CouldNot, "ImageUseHidden"),
        ErrorKind::NotFound => (FailureKind::CouldNot, "NoSuchImage"),
        ErrorKind::Broken => (FailureKind::CouldNot, "ImageBroken"),
        ErrorKind::Busy => (FailureKind::CouldNot, "Busy"),
        ErrorKind::Missing => (FailureKind::CouldNot, "ProgramMissing"),
        ErrorKind::Program => (FailureKind::CouldNot, "ProgramFailed"),
        ErrorKind::NotRoot => (FailureKind::CouldNot, "NotRoot"),
        ErrorKind::NotHere => (FailureKind::CouldNot, "NotHere"),
        ErrorKind::File => (FailureKind::CouldNot, "Failed"),
    };
    Failure::new(kind, name, error.to_string())
        .caused_by(&error)
        .hint(error.hint().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;
    use crate::record::schema::check_text;

    /// What the command answers, says, and comes to.
    fn call(words: &[&str], images: &Path) -> (Verdict, String, String) {
        let (mut answer, mut conversation) = (Vec::new(), Vec::new());
        let mut arguments: Vec<OsString> = ["vfioctl", "image"].map(OsString::from).to_vec();
        arguments.extend(words.iter().map(OsString::from));
        arguments.extend(["--images".into(), images.into()]);
        let verdict = crate::run(arguments, &mut answer, &mut conversation);
        (
            verdict,
            String::from_utf8(answer).unwrap(),
            String::from_utf8(conversation).unwrap(),
        )
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_images() {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images");
        let (verdict, answer, conversation) = call(&["list"], &images);
        assert_eq!((verdict, answer.as_str()), (Verdict::Yes, ""));
        assert!(conversation.starts_with("there are no images in '"));
        let (verdict, answer, conversation) = call(&["list", "--json"], &images);
        assert_eq!((verdict, conversation.as_str()), (Verdict::Yes, ""));
        check_text("image", &answer);
        assert!(!images.exists());
    }

    #[test]
    fn an_image_that_is_not_there_is_neither_removed_nor_a_clear_no() {
        let folder = tempfile::tempdir().unwrap();
        for words in [&["rm", "debian-12"][..], &["rm", "debian-12", "--plan"]] {
            let (verdict, answer, conversation) = call(words, folder.path());
            assert_eq!((verdict, answer.as_str()), (Verdict::CouldNot, ""));
            assert!(conversation.starts_with("vfioctl: there is no image 'debian-12' in "));
        }
    }

    #[test]
    fn a_text_is_refused_clearly() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.img");
        std::fs::write(&file, "no disk").unwrap();
        let images = folder.path().join("images");
        let words = ["import", file.to_str().unwrap(), "--json"];
        let (verdict, answer, _) = call(&words, &images);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        // Without qemu-img nothing is looked at, and that is told instead.
        let name = answer["error"]["name"].as_str().unwrap();
        let is_told = matches!(
            (verdict, name),
            (Verdict::No, "ImageRefused") | (Verdict::CouldNot, "ProgramMissing")
        );
        assert!(is_told && !images.exists(), "{verdict:?} {answer}");
    }

    #[test]
    fn a_group_is_a_number_or_a_name_of_the_database() {
        let database = "root:x:0:\nvfioctl-runner:x:987:\n";
        assert_eq!(group_number("12", database), Some(12));
        assert_eq!(group_number("vfioctl-runner", database), Some(987));
        for group in ["runner", "x", "", "-1", "4294967296"] {
            assert_eq!(group_number(group, database), None, "{group}");
        }
    }
}
