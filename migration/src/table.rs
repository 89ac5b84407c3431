//! Building blocks of the migrations: columns of the types that `entities` uses, and tables with their indexes.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// A required id (or other UUID): `BINARY(16)` on `MySQL`, a 16-byte blob on `SQLite`.
pub(crate) fn id(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).uuid().not_null().take()
}

/// An optional id.
pub(crate) fn id_null(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).uuid().null().take()
}

/// A required text of at most `length` characters. `SQLite` does not enforce the length; the domain does, on both.
pub(crate) fn text(name: &'static str, length: u32) -> ColumnDef {
    ColumnDef::new(name).string_len(length).not_null().take()
}

/// An optional text of at most `length` characters.
pub(crate) fn text_null(name: &'static str, length: u32) -> ColumnDef {
    ColumnDef::new(name).string_len(length).null().take()
}

/// A required whole number of 64 bits; times are milliseconds since 1970.
pub(crate) fn long(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().take()
}

/// An optional whole number of 64 bits.
pub(crate) fn long_null(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().null().take()
}

/// A required whole number of 32 bits, 0 by default.
pub(crate) fn count(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).integer().not_null().default(0).take()
}

/// A required flag, off by default.
pub(crate) fn flag(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).boolean().not_null().default(false).take()
}

/// A foreign key from `from` to the `id` of table `to`. Use `NoAction` to keep the row pointed to: `MySQL` treats it as
/// `RESTRICT`, and `SQLite` reports it as a broken foreign key where `RESTRICT` counts as a trigger.
pub(crate) fn reference(
    name: &'static str,
    table: &'static str,
    from: &'static str,
    to: &'static str,
    on_delete: ForeignKeyAction,
) -> ForeignKeyCreateStatement {
    ForeignKey::create().name(name).from(table, from).to(to, "id").on_delete(on_delete).take()
}

/// An index over `columns`.
pub(crate) fn index(name: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(name);
    for column in columns {
        index.col(*column);
    }
    index.take()
}

/// A unique index over `columns`; rows with NULL in one of them do not count.
pub(crate) fn unique(name: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    index(name, columns).unique().take()
}

/// The primary key over several columns.
pub(crate) fn primary_key(columns: &[&'static str]) -> IndexCreateStatement {
    let mut key = Index::create();
    for column in columns {
        key.col(*column);
    }
    key.primary().take()
}

/// Creates a table with its indexes unless it is there. `MySQL` commits every statement by itself and cannot say
/// `CREATE INDEX IF NOT EXISTS`, so there the indexes are part of the one statement: a migration that was cut off can
/// always be run again.
pub(crate) async fn create(
    manager: &SchemaManager<'_>,
    name: &'static str,
    mut table: TableCreateStatement,
    indexes: Vec<IndexCreateStatement>,
) -> Result<(), DbErr> {
    table.table(name).if_not_exists();
    if manager.get_database_backend() == DbBackend::MySql {
        // Compared by code point, without folding or padding, as SQLite does: names are unique in the same sense on both.
        table.engine("InnoDB").character_set("utf8mb4").collate("utf8mb4_0900_bin");
        for mut index in indexes {
            table.index(&mut index);
        }
        return manager.create_table(table).await;
    }
    manager.create_table(table).await?;
    for mut index in indexes {
        manager.create_index(index.table(name).if_not_exists().take()).await?;
    }
    Ok(())
}

/// Drops tables that are there, in the given order: the ones that point to others first.
pub(crate) async fn drop(manager: &SchemaManager<'_>, names: &[&'static str]) -> Result<(), DbErr> {
    for name in names {
        manager.drop_table(Table::drop().table(*name).if_exists().take()).await?;
    }
    Ok(())
}
