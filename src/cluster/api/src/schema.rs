//! Schemas of the types that are texts in JSON, whatever they are here.

use std::borrow::Cow;

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::{ArchiveName, ImageName, Mount, NodeName, Target, TaskId, TaskName, UserName};

/// Says of a type that it is a text, with an example of it.
macro_rules! texts {
    ($($name:ident: $description:literal, $example:literal;)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some($description))
                    .examples([$example])
                    .into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )*};
}

texts! {
    ArchiveName: "The name of an archive that containers are made from.", "my-pytorch";
    ImageName: "The name of a base image for machines.", "debian-12";
    Mount: "A folder of the node in a container, and ':ro' where it is read only.", "/data:/data:ro";
    NodeName: "The name of a node.", "gpu-1";
    Target: "Where work shall go: node, node:numa, node::gpus, node:numa::gpus.", "gpu-1:0::0,1";
    TaskId: "The number of a task, made by the host.", "01jd3k7x9qz4m";
    TaskName: "What its user calls a task.", "training";
    UserName: "The name of a user of the cluster.", "alice";
}
