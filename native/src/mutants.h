/* mutants: every safeguard that can be taken out, to see that a test notices (test builds with AEGIS_MUTANTS only).
 *
 * Where the core has MUTANT(NAME), a normal build has 0. A test build asks which one is out: one at a time, none at first. The table
 * of who notices is tests/native/killers.h; it has to name each of these. A NAME that begins with NO_ is a step left out; another is
 * the wrong thing done.
 */
#ifndef AEGIS_MUTANTS_H
#define AEGIS_MUTANTS_H

#define MUTANTS_EVERY(X)                                                                                            \
    /* what is synced, and in which order (commit, upkeep, log, recover, segment, manifest, footer, lockfile, store) */ \
    X(NO_GROUP_SYNC, "the sync of a group before it is acknowledged")                                               \
    X(NO_GROUP_FLAG, "the flag that ends a group: every frame has it")                                              \
    X(MANIFEST_AFTER_FRAME, "the manifest that lists a segment before its first frame")                             \
    X(NO_NEXT_SEGMENT_NAME_SYNC, "the sync of the name of the next segment")                                        \
    X(NO_FIRST_SEGMENT_NAME_SYNC, "the sync of the name of a tier's first segment")                                 \
    X(NO_TIER_NAME_SYNC, "the sync of the name of a tier's directory")                                              \
    X(NO_ZERO_SYNC, "the sync of a new segment and of zeros written ahead")                                         \
    X(NO_EXCLUSIVE_SEGMENT, "that a new segment replaces none")                                                     \
    X(NO_ROOM_TEST, "that a record is accepted only where zeros stand for it")                                      \
    X(NO_SYNC_BEFORE_ROTATION, "with `write`: the sync of a full segment before the manifest says so")              \
    X(NO_SYNC_BEFORE_END_MARK, "with `write`: the sync before the end mark")                                        \
    X(NO_SYNC_BEFORE_WATERMARK, "with `write`: the sync before an idle watermark")                                  \
    X(WATERMARK_NOT_SYNCED, "with `write`: that a frame's watermark counts synced records only")                    \
    X(NO_SYNC_OF_CLOSED_FILE, "the sync of the length of a closed segment")                                         \
    X(NO_SLOT_SYNC, "the sync of a watermark slot")                                                                 \
    X(NO_SLOT_TURN, "that the two slots are written in turn")                                                       \
    X(NO_SLOT_AT_OPEN, "the slot that takes an end mark back")                                                      \
    X(NO_MANIFEST_SYNC, "the sync of the manifest before its rename")                                               \
    X(NO_MANIFEST_NAME_SYNC, "the sync of the manifest's name")                                                     \
    X(MANIFEST_IN_PLACE, "that a manifest is written beside and renamed")                                           \
    X(NO_ROTATION_TAKEN_BACK, "that a rotation whose manifest failed is taken back")                                \
    X(NO_SYNC_BEFORE_FOOTER, "the sync of table and frontier before the footer's fixed part")                       \
    X(NO_FOOTER_SYNC, "the sync of a footer")                                                                       \
    X(NO_SIGNATURE_SYNC, "the sync of a footer's signature")                                                        \
    X(NO_PARENT_SYNC, "the sync of a new store's own name")                                                         \
    X(NO_NAME_SYNC_AT_OPEN, "the sync of the manifest's name by the next open")                                     \
    X(NO_PARENT_SYNC_AT_OPEN, "the sync of the store's own name by the next open")                                  \
    X(NO_MANIFEST_REPAIR, "that a damaged manifest is written again")                                               \
    X(NO_MANIFEST_RENEWAL, "that after an unclean end a manifest is written again as it is")                        \
    /* after a failure (commit, upkeep, recover, lockfile) */                                                       \
    X(SYNC_TRIED_AGAIN, "that a failed sync is not tried again")                                                    \
    X(NO_POISON, "that nothing is written after a failed write")                                                    \
    X(WRONG_LANDING, "that who waits for a rotation is woken with all others")                                      \
    X(NO_POISON_BY_WATERMARK, "that a failed watermark poisons")                                                    \
    X(NO_OUTCOME_UNKNOWN, "that waiters are told of a failed write")                                                \
    X(NO_POISON_WORD, "the poison word in LOCK")                                                                    \
    X(NO_POISON_WORD_SYNC, "the sync of the poison word")                                                           \
    X(POISON_WORD_IGNORED, "that an end mark of a poisoned writer is not believed")                                 \
    X(NO_TAIL_REWRITE, "that a tail is written again before it is served")                                          \
    X(NO_SETTLE_SYNC, "the sync of that tail before a slot vouches for it")                                         \
    X(NO_ZERO_PAST_CUT, "that nothing but zeros follows a cut")                                                     \
    X(NO_CUT_SAVED, "that bytes which are cut off are saved")                                                       \
    X(NO_CUT_SYNC, "the sync of the saved bytes before the cut")                                                    \
    X(NO_CUT_NAME_SYNC, "the sync of the name of the saved bytes before the cut")                                   \
    X(SETTLE_BEFORE_HEADS, "that nothing changes before every kept head agrees")                                    \
    /* damage or unfinished end (recover, log, rebuild) */                                                          \
    X(NO_DURABLE_TEST, "that a durable record which is missing is damage")                                          \
    X(NO_WATERMARK_BEFORE, "the watermarks of frames before a bad one")                                             \
    X(NO_WATERMARK_BEHIND, "the watermarks of frames behind a bad one")                                             \
    X(NO_SLOT_SIZE_TEST, "the watermark slot's word for what was durable")                                          \
    X(NO_MANIFEST_SIZE_TEST, "the manifest's word for what was durable")                                            \
    X(NO_ANCHOR_SIZE_TEST, "a kept head's word for what was durable")                                               \
    X(STEP_OVER_ANYTHING, "that damaged frames are stepped over only where they were durable")                     \
    X(NO_REMAINS_TEST, "the link that says which frame a damaged one was")                                          \
    X(NO_LIVE_SIZE_TEST, "the live writer's word for what is durable")                                              \
    X(READERS_SERVE_ALL, "that a reader serves durable records only")                                               \
    X(BELIEVE_WITHOUT_SECRET, "that who has no secret believes the manifest alone")                                 \
    X(NO_MANIFEST_HEAD_TEST, "the manifest's root against the tree")                                                \
    X(NO_WATERMARK_HEAD_TEST, "the watermark slot's root against the tree")                                         \
    X(NO_ANCHOR_TEST, "the roots of kept heads against the tree")                                                   \
    X(NO_EMPTY_TIER_ANCHOR_TEST, "a kept head of a tier that has no record")                                        \
    X(NO_FULL_COUNT_TEST, "that a full segment has all its records")                                                \
    X(NO_FOLLOW_COUNT_TEST, "that a reader finds all that the writer published")                                    \
    X(NO_UNLISTED_TEST, "that a segment which the manifest does not list has no record")                            \
    X(NO_UNLISTED_TIER_TEST, "the same for a tier")                                                                 \
    X(NO_GAP_TEST, "that no segment is missing where the manifest is made again")                                   \
    X(NO_REBUILD_DAMAGE_TEST, "there: that a segment without a valid frame is no unfinished one")                   \
    X(NO_BORDER_TEST, "there: that a segment starts with its first record")                                         \
    /* frames (frame, scan, log) */                                                                                 \
    X(NO_BODY_CHECKSUM, "the body checksum of a frame")                                                             \
    X(NO_LINK_CHECK, "the link of a frame")                                                                         \
    X(NO_SCAN_INDEX_TEST, "that a scanned frame has the expected index")                                            \
    X(NO_READ_INDEX_TEST, "that a frame that is read has the expected index")                                       \
    X(NO_WATERMARK_LIMIT, "that a watermark is at most the index")                                                  \
    X(NO_LENGTH_LIMIT, "the bounds of a frame's lengths")                                                           \
    X(NO_FRAME_END_TEST, "that a frame ends within what is there")                                                  \
    X(NO_PADDING_TEST, "that a frame's padding is zero")                                                            \
    X(NO_READ_CHECKSUM, "the check of a frame that is read")                                                        \
    X(NO_READ_PROOF, "the proof that a record is in the tree")                                                      \
    X(NO_ENTRY_INDEX_TEST, "that an entry that is read alone has the expected index")                               \
    X(NO_ENTRY_PROOF, "the proof that such an entry is in the tree")                                                \
    X(NO_LEAF_INDEX_TEST, "that an entry that is read for the tree has the expected index")                         \
    /* headers and slots (segment) */                                                                               \
    X(NO_HEADER_CHECKSUM, "magic and checksum of a segment's header")                                               \
    X(NO_HEADER_VERSION_TEST, "its format version")                                                                 \
    X(NO_HEADER_STORE_TEST, "its store id")                                                                         \
    X(NO_HEADER_TIER_TEST, "its tier")                                                                              \
    X(NO_HEADER_NUMBER_TEST, "its number")                                                                          \
    X(NO_HEADER_GENERATION_TEST, "its generation")                                                                  \
    X(NO_HEADER_ALIGN_TEST, "its alignment")                                                                        \
    X(NO_SLOT_CHECKSUM, "magic and checksum of a watermark slot")                                                   \
    X(NO_SLOT_CODE, "the authentication code of a watermark slot")                                                  \
    X(NO_NEWEST_SLOT, "that the newer slot counts")                                                                 \
    /* footers and outlines (footer, outline, recover) */                                                           \
    X(NO_FOOTER_CHECKSUM, "the checksum of a footer")                                                               \
    X(NO_FOOTER_OWNER_TEST, "store, tier, number and generation of a footer")                                       \
    X(NO_FOOTER_CODE, "the authentication code of a footer")                                                        \
    X(NO_FOOTER_FIT_TEST, "that a footer's numbers fit its file")                                                   \
    X(NO_FOOTER_RANGE_TEST, "a footer's records against the manifest")                                              \
    X(NO_FRONTIER_TEST, "that a footer's frontier gives its root")                                                  \
    X(NO_TABLE_CHECKSUM, "the checksum of a footer's table")                                                        \
    X(NO_TABLE_ORDER_TEST, "that the offsets in it ascend")                                                         \
    X(NO_OFFSETS_TEST, "that offsets from it can be right before they are used")                                    \
    X(SIGN_AGAIN, "that a footer is signed once")                                                                   \
    X(NO_END_MARK_TEST, "that an outline needs an end mark")                                                        \
    X(NO_OUTLINE_OWNER_TEST, "that an outline is of this segment and this end mark")                                \
    X(NO_OUTLINE_CODE, "the authentication code of an outline")                                                     \
    X(NO_OUTLINE_ROOT_TEST, "an outline's frontier against the end mark's root")                                    \
    X(NO_OUTLINE_AGE_TEST, "an end mark that is older than the manifest")                                           \
    X(OUTLINE_OF_A_LIVE_STORE, "that an outline is not used behind a poisoned or beside a live writer")             \
    X(NO_ZEROS_BEHIND_OUTLINE, "that nothing but zeros follows what an outline lists")                              \
    /* the manifest */                                                                                              \
    X(NO_MANIFEST_CHECKSUM, "the checksum of a manifest copy")                                                      \
    X(NO_MANIFEST_VERSION_TEST, "its format version")                                                               \
    X(NO_MANIFEST_CODE, "its authentication code")                                                                  \
    X(NO_MANIFEST_COUNT_TEST, "that a list of segments ends within the manifest")                                   \
    X(NO_MANIFEST_ORDER_TEST, "that its segments ascend")                                                           \
    X(NO_SECOND_COPY, "its second copy")                                                                            \
    X(NO_COPIES_COMPARED, "that its copies are compared")                                                           \
    /* the tree, and the whole verified (tree, verify) */                                                           \
    X(NO_EDGE_TEST, "that tiles on disk give the root of the log")                                                  \
    X(NO_EDGE_TEST_AGAIN, "that entries give it where tiles do not")                                                \
    X(NO_TILE_CONTRADICTION_TEST, "the tile above against the one below")                                           \
    X(NO_OLD_ROOT_IN_PROOF, "the old root that a consistency proof leads to")                                       \
    X(NO_VARINT_FORM_TEST, "that a number of a delta has as few bytes as it takes")                                 \
    X(NO_COPY_TEST, "that a delta copies what is there")                                                            \
    X(NO_DELTA_LENGTH_TEST, "that a delta makes what it says, of all that it has")                                  \
    X(NO_STATE_LIMIT_TEST, "the limit for states on the way")                                                       \
    X(NO_ENTRY_LENGTH_TEST, "that an entry is long enough to be folded into a session")                             \
    X(NO_OLD_ROOT_TEST, "an old root against the newest")                                                           \
    X(NO_INCLUSION_TEST, "an inclusion proof before it is given out")                                               \
    X(NO_CONSISTENCY_TEST, "a consistency proof before it is given out")                                            \
    X(NO_VERIFY_FRAMES, "verify: the digest of a segment's frames")                                                 \
    X(NO_VERIFY_SEGMENT_ROOT, "verify: the root at a segment's end")                                                \
    X(NO_VERIFY_ROOT, "verify: the root of the log")                                                                \
    /* compaction (frame, scan, commit, manifest, compact, store, verify, api) */                                  \
    X(NO_FLAGS_TEST, "that a frame has known flags, and a stub eight bytes of payload")                             \
    X(NO_CAUSE_TEST, "that what authorises a gap comes behind it")                                                  \
    X(NO_STUB_PLACE_TEST, "that stubs stand in rewritten segments only")                                            \
    X(NO_MANIFEST_SWEPT_TEST, "that a tier is swept up to its size at most")                                        \
    X(NO_MANIFEST_ACTIVE_TEST, "that an active segment was never rewritten")                                        \
    X(NO_SYNC_OF_CAUSES, "with `write`: the sync of what authorises gaps before they are made")                     \
    X(NO_CAUSE_DURABLE_TEST, "that what authorises a gap is in the log")                                            \
    X(NO_COMPACTION_CHECKSUM, "the checksum of a frame before it is copied")                                        \
    X(NO_COMPACTION_DIGEST, "the digest of a segment's frames before they are published elsewhere")                 \
    X(NO_COMPACTED_NAME_SYNC, "the sync of a rewritten segment's name before a manifest lists it")                  \
    X(SOURCE_REMOVED_FIRST, "that a replaced segment goes behind the manifest")                                     \
    X(NO_SYNC_OF_REMOVAL, "the sync that keeps a replaced segment from coming back")                                \
    X(REPLACED_BEFORE_MANIFEST, "that an open makes the manifest durable before replaced segments go")              \
    X(NO_SPACE_TAKEN_AGAIN, "that a rotation finds the space for its manifest behind a compaction")                 \
    X(NO_READ_AGAIN, "that a reader looks again where a segment was replaced as it came")                           \
    X(NO_FOLLOW_ROOT_TEST, "that a rewritten segment leads to the tree that a reader has")                          \
    X(NO_VERIFY_CAUSE, "verify: that what authorises a gap is in the log")                                          \
    X(NO_PROTECTION, "that a sealed and signed segment of the audit tier is read-only")                             \
    X(AUDIT_COMPACTED, "that the audit tier is never compacted")                                                    \
    /* who may (lockfile, store, api) */                                                                            \
    X(NO_WRITER_LOCK, "the writer's lock")                                                                          \
    X(LOCK_BEFORE_GROUP, "that readers are told of a group after its sync")                                         \
    X(MANIFEST_BEFORE_LOCK, "that a reader looks at LOCK before the manifest")                                      \
    X(POISONED_IS_LIVE, "that a poisoned writer is no live one")                                                    \
    X(NO_SIZE_COMPLEMENT, "the inverted copy of a size in LOCK")                                                    \
    X(NO_LOCK_SYNC, "the sync of LOCK at open")                                                                     \
    X(NO_STORE_ID_TEST, "the store id in the manifest against the keys")                                            \
    X(NO_NETWORK_TEST, "that a network file system is refused")                                                     \
    X(NO_STRANGER_TEST, "that a directory with strangers is no new store")                                          \
    X(NO_FORK_TEST, "that a forked child's handle refuses")

enum aegis_mutants {
    MUTANT_NONE = 0,
#define MUTANTS_ENUM(name, out) MUTANT_##name,
    MUTANTS_EVERY(MUTANTS_ENUM)
#undef MUTANTS_ENUM
    MUTANTS_END
};

extern int aegis_mutant;
#define MUTANT(name) (aegis_mutant == MUTANT_##name)

#endif
