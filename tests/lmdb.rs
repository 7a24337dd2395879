//! LMDB folders: LMDB itself reads what this crate writes, and this crate what LMDB writes.

use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions};
use svtrv2::data::{Dataset, Sample, write_lmdb};

fn open(folder: &Path, flags: EnvFlags) -> Env {
    let mut options = EnvOpenOptions::new();
    // SAFETY: nobody else has the file open.
    unsafe { options.map_size(1 << 30).flags(flags | EnvFlags::NO_LOCK).open(folder) }.unwrap()
}

fn write_with_lmdb(folder: &Path, entries: &[(String, Vec<u8>)]) {
    let env = open(folder, EnvFlags::empty());
    let transaction = env.write_txn().unwrap();
    let created = env.create_databases_and_commit(transaction, |opener, transaction| {
        let database = opener.create_database::<Bytes, Bytes>(transaction, None)?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(database))
    });
    let database: Database<Bytes, Bytes> = created.unwrap().commit().unwrap();
    let mut transaction = env.write_txn().unwrap();
    for (key, value) in entries {
        database.put(&mut transaction, key.as_bytes(), value).unwrap();
    }
    transaction.commit().unwrap();
    env.prepare_for_closing().wait();
}

fn samples(count: usize, longest: usize) -> Vec<Sample> {
    (0..count)
        .map(|i| Sample {
            name: format!("image-{:09}", i + 1),
            image: vec![i as u8; i * 7 % longest],
            label: "l".repeat(i % 40),
        })
        .collect()
}

#[test]
fn lmdb_reads_what_is_written() {
    // Around the counts at which trees get another level.
    for (count, longest) in [(0, 1), (1, 9000), (2, 9000), (80, 9000), (1300, 3000), (40_000, 300)]
    {
        let folder = tempfile::tempdir().unwrap();
        let samples = samples(count, longest);
        assert_eq!(write_lmdb(folder.path(), samples.clone()).unwrap(), count);
        let env = open(folder.path(), EnvFlags::READ_ONLY);
        let transaction = env.read_txn().unwrap();
        let opened = env.open_databases_and_commit(transaction, |opener, transaction| {
            let database = opener.open_database::<Bytes, Bytes>(transaction, None)?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(database))
        });
        let database: Database<Bytes, Bytes> = opened.unwrap().commit().flatten().unwrap();
        let transaction = env.read_txn().unwrap();
        assert_eq!(database.len(&transaction).unwrap(), 2 * count as u64 + 1);
        let mut entries = database.iter(&transaction).unwrap();
        for kind in ["image", "label"] {
            for (number, sample) in (1..).zip(&samples) {
                let (key, value) = entries.next().unwrap().unwrap();
                assert_eq!(key, format!("{kind}-{number:09}").as_bytes());
                let label = sample.label.as_bytes();
                assert_eq!(value, if kind == "image" { &sample.image } else { label });
                assert_eq!(database.get(&transaction, key).unwrap(), Some(value));
            }
        }
        assert_eq!(entries.next().unwrap().unwrap().0, b"num-samples");
        assert!(entries.next().is_none());
    }
}

#[test]
fn reads_what_lmdb_writes() {
    let samples = samples(3000, 9000);
    let mut entries = Vec::new();
    // In a random order, so that pages are split.
    for i in (0..3000).map(|i| i * 1171 % 3000) {
        let sample = &samples[i];
        entries.push((format!("image-{:09}", i + 1), sample.image.clone()));
        entries.push((format!("label-{:09}", i + 1), sample.label.clone().into_bytes()));
    }
    entries.push(("num-samples".to_owned(), b"3000".to_vec()));
    let folder = tempfile::tempdir().unwrap();
    write_with_lmdb(folder.path(), &entries);
    let set = Dataset::open(folder.path()).unwrap();
    assert_eq!(set.len(), samples.len());
    for (index, sample) in samples.iter().enumerate() {
        assert_eq!(&set.sample(index).unwrap(), sample);
    }
    // Later transactions, which are in either meta page by turns.
    for text in ["once", "twice", "three times"] {
        write_with_lmdb(folder.path(), &[("label-000000007".to_owned(), text.into())]);
        assert_eq!(Dataset::open(folder.path()).unwrap().label(6).unwrap(), text);
    }
}
