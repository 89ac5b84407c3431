//! The relational schema of `QuikApp`, the same tables on `MySQL` 8 and on `SQLite`, and the one safe way to bring a
//! database up to it.

mod m0001_accounts;
mod m0002_workspaces;
mod m0003_channels;
mod m0004_presence;
mod m0005_outbox;
mod m0006_workspace_joining;
mod run;
mod table;

pub use run::{MigrationError, migrate, rollback};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

/// The migrations, oldest first. Run them through [`migrate`], which is safe when several nodes start at once.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_accounts::Migration),
            Box::new(m0002_workspaces::Migration),
            Box::new(m0003_channels::Migration),
            Box::new(m0004_presence::Migration),
            Box::new(m0005_outbox::Migration),
            Box::new(m0006_workspace_joining::Migration),
        ]
    }
}
