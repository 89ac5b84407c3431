//! The schema on both kinds of server. `MySQL` is tested where `DATABASE_URL` names one (`mysql://…`): each test makes a
//! database of its own there.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use quikapp_entities::{
    ChannelId, InvitationId, SessionId, Timestamp, UserId, WorkspaceId, channel_members, channels,
    invitations, spent_refresh_tokens, user_sessions, users, workspace_members, workspaces,
};
use quikapp_migration::{migrate, rollback};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend,
    DbErr, EntityTrait, IntoActiveModel, ModelTrait, PaginatorTrait, QueryFilter, QueryOrder, QueryTrait,
    SqlErr, Statement,
};
use uuid::Uuid;

/// A database of one test, gone with it.
struct Fixture {
    db: DatabaseConnection,
    url: String,
    server: Option<(DatabaseConnection, String)>,
    _directory: tempfile::TempDir,
}

impl Fixture {
    async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", directory.path().join("quikapp.db").display());
        let db = connect(&url).await;
        Self { db, url, server: None, _directory: directory }
    }

    async fn mysql() -> Option<Self> {
        let base = std::env::var("DATABASE_URL").ok().filter(|url| url.starts_with("mysql://"))?;
        let (host, _) =
            base.split_once("://").map_or(("", ""), |(_, rest)| rest.split_once('/').unwrap_or((rest, "")));
        let server = connect(&format!("mysql://{host}/mysql")).await;
        let name = format!("quikapp_test_{}", Uuid::now_v7().simple());
        server.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        let url = format!("mysql://{host}/{name}");
        let db = connect(&url).await;
        Some(Self { db, url, server: Some((server, name)), _directory: tempfile::tempdir().unwrap() })
    }

    async fn both() -> Vec<Self> {
        let mut all = vec![Self::sqlite().await];
        all.extend(Self::mysql().await);
        all
    }

    async fn remove(self) {
        self.db.close().await.unwrap();
        if let Some((server, name)) = self.server {
            server.execute_unprepared(&format!("DROP DATABASE {name}")).await.unwrap();
            server.close().await.unwrap();
        }
    }
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(4).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

fn uuid() -> Uuid {
    Uuid::now_v7()
}

fn user(email: &str) -> users::Model {
    users::Model {
        id: UserId(uuid()),
        email: email.into(),
        password_hash: None,
        display_name: "Élodie 🦊".into(),
        avatar_url: None,
        status: users::AccountStatus::Active,
        status_text: None,
        status_emoji: Some("👩🏽‍🚀".into()),
        timezone: "Europe/Paris".into(),
        locale: "fr-FR".into(),
        email_verified: true,
        mfa_enabled: false,
        mfa_secret: None,
        last_seen_at: Some(Timestamp(4_102_444_800_123)),
        created_at: Timestamp(1),
        updated_at: Timestamp(2),
        deleted_at: None,
    }
}

fn workspace(owner: UserId) -> workspaces::Model {
    workspaces::Model {
        id: WorkspaceId(uuid()),
        name: "Foxes".into(),
        slug: "foxes".into(),
        domain: None,
        icon_url: None,
        plan: workspaces::WorkspacePlan::Business,
        owner_id: owner,
        settings: sea_orm::JsonValue::from(vec!["kept", "as is"]),
        member_count: 1,
        channel_count: 0,
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
    }
}

fn channel(workspace: &workspaces::Model, name: &str, kind: channels::ChannelType) -> channels::Model {
    channels::Model {
        id: ChannelId(uuid()),
        workspace_id: workspace.id,
        name: name.into(),
        kind,
        topic: None,
        description: Some("🦊".repeat(4_000)),
        entity_type: None,
        entity_id: None,
        history_visibility: channels::HistoryVisibility::SinceJoin,
        is_archived: true,
        is_general: false,
        created_by: workspace.owner_id,
        member_count: 0,
        message_count: 1 << 40,
        last_message_at: None,
        log_seq: 0,
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
    }
}

fn membership(channel: &channels::Model, user: UserId) -> channel_members::Model {
    channel_members::Model {
        channel_id: channel.id,
        user_id: user,
        workspace_id: channel.workspace_id,
        role: workspace_members::MemberRole::Owner,
        status: channel_members::MembershipStatus::Active,
        joined_seq: 7,
        joined_at: Timestamp(1),
        left_at: None,
        removed_by: Some(user),
        is_muted: false,
        is_pinned: true,
        notification_level: channel_members::NotificationLevel::None,
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
    }
}

async fn insert<M>(db: &DatabaseConnection, model: M) -> Result<(), DbErr>
where
    M: ModelTrait + IntoActiveModel<<<M as ModelTrait>::Entity as EntityTrait>::ActiveModel>,
{
    let row = model.into_active_model().reset_all();
    <<M as ModelTrait>::Entity as EntityTrait>::insert(row).exec_without_returning(db).await.map(|_| ())
}

fn is_unique(result: Result<(), DbErr>) -> bool {
    matches!(result.unwrap_err().sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

async fn tables(db: &DatabaseConnection) -> Vec<String> {
    let sql = match db.get_database_backend() {
        DbBackend::MySql => {
            "SELECT CAST(table_name AS CHAR) AS name FROM information_schema.tables WHERE table_schema = DATABASE()"
        }
        _ => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    };
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    let mut names: Vec<String> = rows.iter().map(|row| row.try_get("", "name").unwrap()).collect();
    names.sort();
    names
}

/// How the server would run a query, as one text: the indexes, and whether it sorts.
async fn explain(db: &DatabaseConnection, mut query: Statement) -> String {
    let mysql = db.get_database_backend() == DbBackend::MySql;
    query.sql =
        format!("{} {}", if mysql { "EXPLAIN FORMAT=TRADITIONAL" } else { "EXPLAIN QUERY PLAN" }, query.sql);
    let columns = if mysql { vec!["key", "Extra"] } else { vec!["detail"] };
    let rows = db.query_all_raw(query).await.unwrap();
    let cells = rows
        .iter()
        .flat_map(|row| columns.iter().map(|name| row.try_get::<Option<String>>("", name).unwrap()));
    cells.flatten().collect::<Vec<_>>().join("\n")
}

const TABLES: [&str; 11] = [
    "channel_members",
    "channels",
    "invitations",
    "outbox",
    "presence_choices",
    "seaql_migrations",
    "spent_refresh_tokens",
    "user_sessions",
    "users",
    "workspace_members",
    "workspaces",
];

#[tokio::test]
async fn goes_up_down_and_up_again() {
    for fixture in Fixture::both().await {
        let db = &fixture.db;
        migrate(db).await.unwrap();
        assert_eq!(tables(db).await, TABLES);
        migrate(db).await.unwrap();
        rollback(db, Some(2)).await.unwrap();
        assert!(!tables(db).await.contains(&"outbox".to_owned()));
        migrate(db).await.unwrap();
        rollback(db, None).await.unwrap();
        rollback(db, None).await.unwrap();
        assert_eq!(tables(db).await, ["seaql_migrations"]);
        migrate(db).await.unwrap();
        assert_eq!(tables(db).await, TABLES);
        fixture.remove().await;
    }
}

#[tokio::test]
async fn finishes_what_was_cut_off() {
    for fixture in Fixture::both().await {
        let db = &fixture.db;
        migrate(db).await.unwrap();
        // As if the process had died between a migration and its record.
        db.execute_unprepared("DELETE FROM seaql_migrations WHERE version > 'm0003'").await.unwrap();
        db.execute_unprepared("DROP TABLE channel_members").await.unwrap();
        for table in ["presence_choices", "outbox"] {
            db.execute_unprepared(&format!("DROP TABLE {table}")).await.unwrap();
        }
        migrate(db).await.unwrap();
        assert_eq!(tables(db).await, TABLES);
        fixture.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_nodes_may_start_at_once() {
    for fixture in Fixture::both().await {
        let nodes: Vec<_> = (0..4)
            .map(|_| {
                let url = fixture.url.clone();
                tokio::spawn(async move {
                    let db = connect(&url).await;
                    migrate(&db).await.map_err(|error| error.to_string())
                })
            })
            .collect();
        for node in nodes {
            assert_eq!(node.await.unwrap(), Ok(()));
        }
        assert_eq!(tables(&fixture.db).await, TABLES);
        fixture.remove().await;
    }
}

#[tokio::test]
async fn rows_read_back_as_written() {
    for fixture in Fixture::both().await {
        let db = &fixture.db;
        migrate(db).await.unwrap();
        let user = user("elodie@example.org");
        insert(db, user.clone()).await.unwrap();
        assert_eq!(users::Entity::find_by_id(user.id).one(db).await.unwrap(), Some(user.clone()));

        let session = user_sessions::Model {
            id: SessionId(uuid()),
            user_id: user.id,
            token_hash: "a".repeat(64),
            ip_address: Some("2001:db8::1".into()),
            user_agent: None,
            expires_at: Timestamp(9),
            revoked_at: None,
            created_at: Timestamp(1),
        };
        insert(db, session.clone()).await.unwrap();
        let read = user_sessions::Entity::find().one(db).await.unwrap();
        assert_eq!(read.as_ref(), Some(&session));
        let spent = spent_refresh_tokens::Model {
            token_hash: "b".repeat(64),
            session_id: session.id,
            spent_at: Timestamp(3),
        };
        insert(db, spent.clone()).await.unwrap();
        assert_eq!(spent_refresh_tokens::Entity::find().one(db).await.unwrap(), Some(spent));

        let workspace = workspace(user.id);
        insert(db, workspace.clone()).await.unwrap();
        assert_eq!(workspaces::Entity::find().one(db).await.unwrap().as_ref(), Some(&workspace));
        let member = workspace_members::Model {
            workspace_id: workspace.id,
            user_id: user.id,
            role: workspace_members::MemberRole::Owner,
            joined_at: Timestamp(5),
            joined_seq: Some(7),
            invited_by: Some(user.id),
        };
        insert(db, member.clone()).await.unwrap();
        assert_eq!(workspace_members::Entity::find().one(db).await.unwrap(), Some(member));
        let invitation = invitations::Model {
            id: InvitationId(uuid()),
            workspace_id: workspace.id,
            token_hash: "c".repeat(64),
            email: None,
            role: workspace_members::MemberRole::Guest,
            created_by: user.id,
            expires_at: Timestamp(9),
            accepted_at: None,
            created_at: Timestamp(1),
        };
        insert(db, invitation.clone()).await.unwrap();
        assert_eq!(invitations::Entity::find().one(db).await.unwrap(), Some(invitation));
        let channel = channel(&workspace, "den", channels::ChannelType::GroupDirect);
        insert(db, channel.clone()).await.unwrap();
        assert_eq!(channels::Entity::find().one(db).await.unwrap().as_ref(), Some(&channel));
        let membership = membership(&channel, user.id);
        insert(db, membership.clone()).await.unwrap();
        assert_eq!(channel_members::Entity::find().one(db).await.unwrap(), Some(membership));

        // A user who is named anywhere stays; a workspace takes all below it along.
        let refused = users::Entity::delete_by_id(user.id).exec(db).await.unwrap_err();
        assert!(matches!(refused.sql_err(), Some(SqlErr::ForeignKeyConstraintViolation(_))), "{refused}");
        workspaces::Entity::delete_by_id(workspace.id).exec(db).await.unwrap();
        assert_eq!(channel_members::Entity::find().count(db).await.unwrap(), 0);
        assert_eq!(workspace_members::Entity::find().count(db).await.unwrap(), 0);
        assert_eq!(invitations::Entity::find().count(db).await.unwrap(), 0);
        users::Entity::delete_by_id(user.id).exec(db).await.unwrap();
        assert_eq!(spent_refresh_tokens::Entity::find().count(db).await.unwrap(), 0);
        fixture.remove().await;
    }
}

#[tokio::test]
async fn unique_means_the_same_code_points() {
    for fixture in Fixture::both().await {
        let db = &fixture.db;
        migrate(db).await.unwrap();
        let owner = user("a@example.org");
        insert(db, owner.clone()).await.unwrap();
        assert!(is_unique(insert(db, user("a@example.org")).await));
        let workspace = workspace(owner.id);
        insert(db, workspace.clone()).await.unwrap();
        assert!(is_unique(
            insert(db, workspaces::Model { id: WorkspaceId(uuid()), ..workspace.clone() }).await
        ));

        // Case, accents, and spaces at the end all make another name.
        for name in ["resume", "Resume", "résumé", "resume "] {
            insert(db, channel(&workspace, name, channels::ChannelType::Public)).await.unwrap();
        }
        assert!(is_unique(insert(db, channel(&workspace, "resume", channels::ChannelType::Private)).await));
        let found =
            channels::Entity::find().filter(channels::Column::Name.eq("RESUME")).count(db).await.unwrap();
        assert_eq!(found, 0);

        let about = |name: &str, id: Option<&str>| channels::Model {
            entity_type: Some("deal".into()),
            entity_id: id.map(Into::into),
            ..channel(&workspace, name, channels::ChannelType::Topic)
        };
        assert!(insert(db, about("no entity", None)).await.is_err());
        insert(db, about("deal 1", Some("1"))).await.unwrap();
        insert(db, about("deal 2", Some("2"))).await.unwrap();
        assert!(is_unique(insert(db, about("deal 1 again", Some("1"))).await));
        fixture.remove().await;
    }
}

#[tokio::test]
async fn frequent_queries_use_indexes() {
    for fixture in Fixture::both().await {
        let db = &fixture.db;
        let backend = db.get_database_backend();
        migrate(db).await.unwrap();
        let owner = user("a@example.org");
        insert(db, owner.clone()).await.unwrap();
        let workspace = workspace(owner.id);
        insert(db, workspace.clone()).await.unwrap();
        let people: Vec<_> = (0..30).map(|number| user(&format!("{number}@example.org"))).collect();
        users::Entity::insert_many(people.iter().map(|user| user.clone().into_active_model().reset_all()))
            .exec_without_returning(db)
            .await
            .unwrap();
        for number in 0..20 {
            let channel = channel(&workspace, &format!("c{number}"), channels::ChannelType::Public);
            insert(db, channel.clone()).await.unwrap();
            let rows =
                people.iter().map(|user| membership(&channel, user.id).into_active_model().reset_all());
            channel_members::Entity::insert_many(rows).exec_without_returning(db).await.unwrap();
        }
        if backend == DbBackend::MySql {
            let tables = "ANALYZE TABLE users, channels, channel_members, user_sessions";
            db.query_all_raw(Statement::from_string(backend, tables)).await.unwrap();
        }
        let sign_in = users::Entity::find().filter(users::Column::Email.eq("7@example.org")).build(backend);
        let plan = explain(db, sign_in).await;
        assert!(plan.contains("users_email_key"), "{plan}");

        let own = channel_members::Entity::find()
            .filter(channel_members::Column::UserId.eq(people[3].id))
            .filter(channel_members::Column::WorkspaceId.eq(workspace.id))
            .order_by_desc(channel_members::Column::IsPinned)
            .order_by_desc(channel_members::Column::UpdatedAt)
            .build(backend);
        let plan = explain(db, own).await;
        assert!(plan.contains("channel_members_user_list"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("filesort"), "{plan}");

        let sessions = user_sessions::Entity::find()
            .filter(user_sessions::Column::UserId.eq(people[3].id))
            .build(backend);
        let plan = explain(db, sessions).await;
        assert!(plan.contains("user_sessions_user"), "{plan}");
        fixture.remove().await;
    }
}
