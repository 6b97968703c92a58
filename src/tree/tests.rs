//! The tree against `ct-merkle`, and the texts against Go's.

use super::*;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use proptest::prelude::*;
use sha2::Sha256;

fn line(index: u64) -> String {
    format!(r#"{{"position":{},"payload":{{}}}}"#, index + 1)
}

/// A tree of `size` leaves with all its tiles.
fn tree(size: u64) -> (Builder, Tiles) {
    let mut builder = Builder::default();
    let mut full = Vec::new();
    for index in 0..size {
        full.extend(builder.push(leaf_hash(line(index))));
    }
    let tiles = full.into_iter().chain(builder.growing_tiles()).collect();
    (builder, tiles)
}

fn theirs(size: u64) -> MemoryBackedTree<Sha256, String> {
    let mut tree = MemoryBackedTree::new();
    (0..size).for_each(|index| tree.push(line(index)));
    tree
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

fn root(size: u64, tiles: &Tiles) -> Hash {
    let root = Plan::root(size).hashes(tiles).unwrap();
    root.first().copied().unwrap_or_else(Hash::of_nothing)
}

/// Our proofs, of the leaf `index` and from `from` leaves, are those of `ct-merkle`.
fn assert_agrees(theirs: &MemoryBackedTree<Sha256, String>, tiles: &Tiles, index: u64, from: u64) {
    let size = theirs.len();
    if index < size {
        let ours = Plan::inclusion(index, size).unwrap().hashes(tiles).unwrap();
        let their = theirs.prove_inclusion(usize::try_from(index).unwrap());
        assert_eq!(bytes(&ours), their.as_bytes(), "{index} in {size}");
    }
    if from > 0 {
        let ours = Plan::consistency(from, size).unwrap().hashes(tiles).unwrap();
        let their = theirs.prove_consistency(usize::try_from(size - from).unwrap());
        assert_eq!(bytes(&ours), their.as_bytes(), "from {from} to {size}");
    }
}

/// Both accept these proofs.
fn assert_accepted(theirs: &MemoryBackedTree<Sha256, String>, tiles: &Tiles, index: u64, from: u64) {
    let (size, newer, older) = (theirs.len(), root(theirs.len(), tiles), root(from, tiles));
    let their_root = theirs.root();
    assert_eq!(their_root.as_bytes()[..], newer.0, "the root at {size}");
    let proof = Plan::inclusion(index, size).unwrap().hashes(tiles).unwrap();
    assert_eq!(verify_inclusion(leaf_hash(line(index)), index, size, newer, &proof), Ok(()));
    let proof = InclusionProof::from_bytes(bytes(&proof));
    assert!(their_root.verify_inclusion(&line(index), index, &proof).is_ok());
    let proof = Plan::consistency(from, size).unwrap().hashes(tiles).unwrap();
    assert_eq!(verify_consistency(from, older, size, newer, &proof), Ok(()));
    let proof = ConsistencyProof::try_from_bytes(bytes(&proof)).unwrap();
    let older = RootHash::<Sha256>::new(older.0.into(), from);
    assert!(their_root.verify_consistency(&older, &proof).is_ok());
}

#[test]
fn roots_and_proofs_of_all_small_trees_are_those_of_ct_merkle() {
    let mut theirs = MemoryBackedTree::<Sha256, String>::new();
    let mut builder = Builder::default();
    let (_, tiles) = tree(300);
    for size in 1..=300 {
        theirs.push(line(size - 1));
        builder.push(leaf_hash(line(size - 1)));
        assert_eq!(theirs.root().as_bytes()[..], builder.root().0, "the root at {size}");
        let step = if size <= 64 { 1 } else { 7 };
        for other in (size % step..=size).step_by(usize::try_from(step).unwrap()) {
            assert_agrees(&theirs, &tiles, other, other);
        }
        for other in (0..size).step_by(29) {
            assert_accepted(&theirs, &tiles, other, other + 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn roots_and_proofs_of_large_trees_are_those_of_ct_merkle(
        size in 301_u64..20_000,
        places in prop::collection::vec(any::<u64>(), 20),
    ) {
        let (builder, tiles) = tree(size);
        let theirs = theirs(size);
        prop_assert_eq!(theirs.root().as_bytes()[..].to_vec(), builder.root().0.to_vec());
        for place in places {
            assert_agrees(&theirs, &tiles, place % size, place % size + 1);
            assert_accepted(&theirs, &tiles, place % size, place % size + 1);
        }
    }

    #[test]
    fn a_tree_that_is_resumed_grows_like_one_that_was_never_left(size in 0_u64..1_500, more in 1_u64..600) {
        let (_, tiles) = tree(size);
        let mut resumed = Builder::resume(size, &tiles).unwrap();
        let (mut whole, _) = tree(size);
        for index in size..size + more {
            prop_assert_eq!(resumed.push(leaf_hash(line(index))), whole.push(leaf_hash(line(index))));
        }
        prop_assert_eq!(resumed.root(), whole.root());
        prop_assert!(resumed.growing_tiles().eq(whole.growing_tiles()));
    }
}

/// Three levels of tiles.
#[test]
fn a_tree_of_seventy_thousand_leaves_is_that_of_ct_merkle() {
    let (builder, tiles) = tree(70_000);
    let theirs = theirs(70_000);
    assert_eq!(theirs.root().as_bytes()[..], builder.root().0);
    for place in [0, 255, 256, 65_535, 65_536, 69_999] {
        assert_agrees(&theirs, &tiles, place, place + 1);
        assert_accepted(&theirs, &tiles, place, place + 1);
    }
}

#[test]
fn a_tree_that_lacks_a_tile_is_not_resumed() {
    let (_, tiles) = tree(300);
    assert_eq!(Builder::resume(301, &tiles).unwrap_err(), MissingHash(TileId { level: 0, index: 1 }));
    assert_eq!(Builder::resume(0, &tiles).unwrap().root(), Hash::of_nothing());
}

#[test]
fn the_root_of_the_usual_eight_leaves_is_the_known_one() {
    let leaves: [&[u8]; 8] = [b"", b"\x00", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"];
    let mut builder = Builder::default();
    for leaf in leaves {
        builder.push(leaf_hash(leaf));
    }
    let root: String = builder.root().0.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(root, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}

#[test]
fn a_proof_of_something_else_is_refused() {
    let (builder, tiles) = tree(1_000);
    let (size, root) = (builder.size(), builder.root());
    let proof = Plan::inclusion(700, size).unwrap().hashes(&tiles).unwrap();
    let leaf = leaf_hash(line(700));
    let inclusion = |leaf, index, size, proof: &[Hash]| verify_inclusion(leaf, index, size, root, proof);
    assert_eq!(inclusion(leaf, 700, size, &proof), Ok(()));
    assert_eq!(inclusion(leaf_hash(line(701)), 700, size, &proof), Err(InvalidProof::AnotherRoot));
    assert_eq!(inclusion(leaf, 701, size, &proof), Err(InvalidProof::AnotherRoot));
    assert_eq!(
        inclusion(leaf, 1_000, size, &proof),
        Err(InvalidProof::OutOfRange { index: 1_000, size: 1_000 })
    );
    assert_eq!(inclusion(leaf, 700, size, &proof[1..]), Err(InvalidProof::Length { expected: 10, found: 9 }));
    for place in 0..proof.len() {
        let mut wrong = proof.clone();
        wrong[place].0[0] ^= 1;
        assert_eq!(inclusion(leaf, 700, size, &wrong), Err(InvalidProof::AnotherRoot));
    }

    let (older, _) = tree(333);
    let proof = Plan::consistency(333, size).unwrap().hashes(&tiles).unwrap();
    let consistency = |from, older, proof: &[Hash]| verify_consistency(from, older, size, root, proof);
    assert_eq!(consistency(333, older.root(), &proof), Ok(()));
    assert_eq!(consistency(333, root, &proof), Err(InvalidProof::AnotherOlderRoot));
    assert_eq!(consistency(0, root, &[]), Err(InvalidProof::AnotherOlderRoot));
    assert_eq!(consistency(0, Hash::of_nothing(), &[]), Ok(()));
    assert_eq!(consistency(1_000, root, &[]), Ok(()));
    assert_eq!(consistency(1_000, older.root(), &[]), Err(InvalidProof::AnotherRoot));
    assert_eq!(consistency(1_001, root, &[]), Err(InvalidProof::Shrinks { from: 1_001, to: 1_000 }));
    for place in 0..proof.len() {
        let mut wrong = proof.clone();
        wrong[place].0[0] ^= 1;
        assert!(consistency(333, older.root(), &wrong).is_err());
    }
}

/// The example of Go's `golang.org/x/mod/sumdb/note`.
const PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n— PeterNeumann \
    x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

#[test]
fn keys_and_signatures_are_those_of_go() {
    let key: SigningKey = PRIVATE.parse().unwrap();
    assert_eq!(key.expose(), PRIVATE);
    assert_eq!(key.verifier().to_string(), VKEY);
    assert_eq!(VKEY.parse::<VerifierKey>().unwrap(), *key.verifier());
    let (text, _) = NOTE.rsplit_once("\n—").unwrap();
    assert_eq!(note::sign(text, &key), NOTE);
    assert_eq!(note::Note::parse(NOTE).unwrap().verify(key.verifier()), Ok(()));
    assert!(!format!("{key:?}").contains("AYEKFALV"));
}

#[test]
fn a_key_with_a_wrong_character_is_refused() {
    for (text, why) in [
        (VKEY, "a private key is PRIVATE+KEY+<name>+<hash>+<base64>"),
        (
            &PRIVATE.replace("Peter", "Peters"),
            "its hash is not that of its name and key: a character is wrong",
        ),
        (&PRIVATE.replace("+AYE", "+AoE"), "it is not an Ed25519 key"),
        (
            &PRIVATE.replace("Peter", "Peter "),
            "a key's name is not empty and has no space, no + and no control character",
        ),
    ] {
        assert_eq!(text.parse::<SigningKey>().unwrap_err().to_string(), why, "{text}");
    }
    for text in ["", "a+b", "a+00000000+", PRIVATE, &VKEY.replace("c74f20a3", "+74f20a3"), &VKEY[..40]] {
        assert!(text.parse::<VerifierKey>().is_err(), "{text}");
    }
}

fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(name, [7; 32]).unwrap()
}

#[test]
fn a_checkpoint_counts_only_with_the_signature_of_its_origin() {
    let (builder, _) = tree(5);
    let key = key("offers.example/one");
    let signed = SignedCheckpoint::sign(builder.size(), builder.root(), &key);
    let text = signed.to_string();
    assert!(text.starts_with(&format!("offers.example/one\n5\n{}\n\n— offers.example/one ", builder.root())));
    let read: SignedCheckpoint = text.parse().unwrap();
    assert_eq!(read, signed);
    assert_eq!(read.verify(key.verifier()).unwrap().size, 5);

    let forged: SignedCheckpoint = text.replacen("\n5\n", "\n6\n", 1).parse().unwrap();
    assert!(matches!(forged.verify(key.verifier()), Err(SignatureError::Wrong(_))));
    let other = SigningKey::from_seed("offers.example/one", [8; 32]).unwrap();
    assert!(matches!(read.verify(other.verifier()), Err(SignatureError::NotSigned(_))));
    let elsewhere = self::key("offers.example/two");
    assert!(matches!(read.verify(elsewhere.verifier()), Err(SignatureError::AnotherOrigin { .. })));
    // Those of witnesses are not looked at.
    let witnessed = format!("{text}— witness.example AAAAAAAA\n");
    assert!(witnessed.parse::<SignedCheckpoint>().unwrap().verify(key.verifier()).is_ok());
}

#[test]
fn a_text_that_is_no_checkpoint_is_refused_with_its_line() {
    let text = SignedCheckpoint::sign(5, Hash::of_nothing(), &key("log")).to_string();
    for (wrong, line) in [
        (String::new(), 1),
        (text[..text.len() - 1].to_owned(), 5),
        (text[..text.len() - 90].to_owned() + "\n", 5),
        (text.replacen("\n5\n", "\n05\n", 1), 2),
        (text.replacen("\n5\n", "\n-5\n", 1), 2),
        (text.replacen("\n47", "\n4", 1), 3),
        (text.replacen("log\n", "\n", 1), 1),
        (text.replacen("log\n", "l\tog\n", 1), 1),
        (text.replacen("\n\n", "\n", 1), 4),
        (text.replacen("\n\n", "\n\n\n", 1), 4),
        (text.replacen('—', "-", 1), 5),
    ] {
        assert_eq!(wrong.parse::<SignedCheckpoint>().unwrap_err().line, line, "{wrong:?}");
    }
}

fn receipt(index: u64) -> Receipt {
    let (builder, tiles) = tree(300);
    let proof = Plan::inclusion(index, 300).unwrap().hashes(&tiles).unwrap();
    let checkpoint = SignedCheckpoint::sign(300, builder.root(), &key("log"));
    Receipt { line: line(index), index, proof, checkpoint }
}

#[test]
fn receipts_are_read_one_after_the_other_and_each_verifies_alone() {
    let (first, second) = (receipt(0), receipt(299));
    let text = format!("{first}{second}");
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra eyJ"));
    let read = Receipt::parse_all(&text).unwrap();
    assert_eq!(read, [first, second]);
    for receipt in &read {
        assert_eq!(receipt.verify(key("log").verifier()).unwrap().size, 300);
    }
}

#[test]
fn a_receipt_of_another_record_or_place_is_refused() {
    let key = key("log");
    let good = receipt(100);
    let other = Receipt { line: line(101), ..good.clone() };
    assert!(matches!(other.verify(key.verifier()), Err(InvalidReceipt::Proof { position: 101, .. })));
    let moved = Receipt { index: 101, ..good.clone() };
    assert!(matches!(moved.verify(key.verifier()), Err(InvalidReceipt::Proof { position: 102, .. })));
    let beyond = Receipt { index: 300, ..good };
    assert!(matches!(beyond.verify(key.verifier()), Err(InvalidReceipt::Proof { position: 301, .. })));

    let mut builder = Builder::default();
    builder.push(leaf_hash(line(7)));
    let checkpoint = SignedCheckpoint::sign(1, builder.root(), &key);
    let misplaced = Receipt { line: line(7), index: 0, proof: Vec::new(), checkpoint };
    assert_eq!(misplaced.verify(key.verifier()), Err(InvalidReceipt::Position(1)));
}

#[test]
fn a_receipt_with_any_byte_changed_proves_nothing() {
    let (text, key) = (receipt(100).to_string(), key("log"));
    for place in 0..text.len() {
        for change in [1, 2, 32, 128] {
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= change;
            let Ok(wrong) = String::from_utf8(bytes) else { continue };
            let Ok(receipts) = Receipt::parse_all(&wrong) else { continue };
            let proved = receipts.iter().any(|receipt| receipt.verify(key.verifier()).is_ok());
            assert!(!proved, "byte {place}, {change}: {wrong}");
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_read_is_an_error_or_a_text_and_never_a_panic(text in "(?s)(c2sp.org/tlog-proof@v1\n)?(extra [a-z=]*\n|index [0-9]*\n|\n|— a b\n|.){0,12}") {
        let _ = Receipt::parse_all(&text);
        let _ = text.parse::<SignedCheckpoint>();
        let _ = text.parse::<VerifierKey>();
        let _ = text.parse::<SigningKey>();
    }
}

#[test]
fn a_text_that_is_no_receipt_is_refused_with_its_line() {
    let text = receipt(0).to_string();
    let lines = text.lines().count();
    let checkpoint_at = text.lines().position(str::is_empty).unwrap() + 2;
    for (wrong, line) in [
        (String::new(), 1),
        (format!("\n{text}"), 1),
        (text.replacen("extra e", "extra !", 1), 2),
        (text.replacen("extra", "extras", 1), 2),
        (text.replacen("index 0", "index 00", 1), 3),
        (text.replacen("index 0", "index 18446744073709551615", 1), 3),
        (text.replacen("index 0\n", "index 0\nAAAA\n", 1), 4),
        (text.replacen("\n300\n", "\n3x\n", 1), checkpoint_at + 1),
        (text.lines().take(6).collect::<Vec<_>>().join("\n"), 6),
        (format!("{text}{}", text.replacen("index 0", "index x", 1)), lines + 3),
    ] {
        assert_eq!(Receipt::parse_all(&wrong).unwrap_err().line, line, "{wrong:?}");
    }
}
