// Predicts a file byte by byte and learns it, block by block, in the same way on both sides.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "network.hpp"

namespace compress_text {

/// Compression and restoration call it in the same order, so both have the same state before each byte. A block is cut
/// into streams of the same length, which advance together: one step of the network serves them all.
class learner {
 public:
  learner(strata::cpu& backend, const size_of_model& size);

  /// Codes one byte with the help of a mixer that was given the network's prediction. It calls `frequency` and `learn`
  /// of the mixer for its 8 bits. It is given the byte, or the place for it.
  using byte_coder = std::function<void(byte_mixer&, std::uint8_t&)>;
  /// Is asked after each step of the network; false ends the work. It is given the bytes that are done.
  using progress = std::function<bool(std::size_t)>;

  /// Visits every byte of a block, and learns it. False if `go_on` ended it.
  bool visit(std::span<std::uint8_t> block, const byte_coder& code, const progress& go_on);

  /// The size of block number `block`, from 0; the last one of a file may be shorter.
  static std::size_t block_size(std::uint64_t block);

 private:
  strata::index_type streams_of(std::size_t bytes) const;
  void train(std::span<const std::uint8_t> block, strata::index_type streams, strata::index_type length,
             strata::index_type end);
  void replay(std::span<const std::uint8_t> block, strata::index_type streams, strata::index_type length,
              strata::index_type end);
  void keep(std::span<const std::uint8_t> block);

  learning how_;
  std::unique_ptr<network> network_;
  byte_mixer mixer_;
  std::vector<strata::token> rows_;
  std::vector<std::uint8_t> past_;  // of earlier blocks, to replay
  std::size_t oldest_ = 0;          // in it, once it is full
  std::uint64_t done_ = 0, draws_ = 0;
};

/// A fingerprint of what this processor and this build compute, as 16 hexadecimal digits: of the predictions of a new
/// learner for a short fixed text. Equal fingerprints mean that one can restore what the other has compressed.
std::string arithmetic_of(strata::cpu& backend, const size_of_model& size);

}  // namespace compress_text
