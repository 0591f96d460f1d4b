//! The JSON Schemas in `deploy`, to hold against real answers.

use std::fs;

use serde_json::Value;

/// A JSON Schema, compiled. It finds others beside itself.
pub struct Schema {
    path: String,
    schemas: boon::Schemas,
    root: boon::SchemaIndex,
}

impl Schema {
    /// Compiles the schema in this file.
    pub fn of_file(path: &str) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let schema = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self::compile(path, schema).unwrap_or_else(|error| panic!("{path}: {error:#}"))
    }

    /// Compiles another version of it.
    pub fn compile(path: &str, schema: Value) -> Result<Self, Box<boon::CompileError>> {
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        compiler.add_resource(path, schema)?;
        let root = compiler.compile(path, &mut schemas)?;
        let path = path.to_owned();
        Ok(Self {
            path,
            schemas,
            root,
        })
    }

    /// Whether it takes the answer; else what is wrong with it, and where.
    pub fn check(&self, answer: &Value) -> Result<(), String> {
        let checked = self.schemas.validate(answer, self.root);
        checked.map_err(|error| format!("{error:#}"))
    }

    /// Asserts that it takes the answer.
    #[track_caller]
    pub fn assert_takes(&self, answer: &Value) {
        if let Err(wrong) = self.check(answer) {
            panic!("{} does not take {answer:#}\n{wrong}", self.path);
        }
    }
}
