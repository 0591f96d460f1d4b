//! What can be wrong with a control request.

use hyper::Method;

use crate::rules::acts::ActError;
use crate::rules::gates::GateError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Mistake {
    #[error("there is no /_emulator/{0}")]
    NoResource(String),
    #[error("{0} is not possible here")]
    Method(Method),
    #[error("the body: {0}")]
    Json(#[from] serde_json::Error),
    #[error("`{0}` is not a number")]
    NoNumber(String),
    #[error("the query needs {0}=…")]
    NeedsQuery(&'static str),
    #[error("{0} is not there")]
    NotThere(String),
    #[error(transparent)]
    Act(#[from] ActError),
    #[error(transparent)]
    Gate(#[from] GateError),
}

impl Mistake {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Json(_) | Self::NoNumber(_) | Self::NeedsQuery(_) => 400,
            Self::NoResource(_) | Self::NotThere(_) | Self::Act(_) | Self::Gate(_) => 404,
            Self::Method(_) => 405,
        }
    }
}
