#include "learner.hpp"

#include <algorithm>
#include <cstdio>

#include <strata/core/random.hpp>

#include "checksum.hpp"

namespace compress_text {
namespace {

using strata::index_type;

constexpr strata::token before_the_first = '\n';

/// One stream for so many bytes: each stream begins without knowing what it is about.
constexpr std::size_t least_stream = 8192;
constexpr std::size_t first_block = std::size_t{1} << 16, largest_block = std::size_t{1} << 20;

/// What was read before and can be replayed: so many bytes.
constexpr std::size_t longest_past = std::size_t{1} << 23;

/// At the start, the model learns after a few bytes already.
constexpr index_type first_step_bytes = 16, growth = 8;

}  // namespace

learner::learner(strata::cpu& backend, const size_of_model& size)
    : how_(size.how), network_(size.make(backend, size.how)), mixer_(1, size.how.mixer) {}

std::size_t learner::block_size(std::uint64_t block) { return block < 4 ? first_block << block : largest_block; }

index_type learner::streams_of(std::size_t bytes) const {
  const auto wanted = static_cast<index_type>(bytes / least_stream);
  return std::clamp<index_type>(wanted, 1, how_.streams);
}

bool learner::visit(std::span<std::uint8_t> block, const byte_coder& code, const progress& go_on) {
  if (block.empty()) return true;
  const index_type streams = streams_of(block.size());
  const auto size = static_cast<index_type>(block.size());
  const index_type length = (size + streams - 1) / streams;  // the last stream may be shorter
  network_->begin_texts(streams);
  mixer_.begin_texts(static_cast<int>(streams));
  std::vector<strata::token> newest(static_cast<std::size_t>(streams), before_the_first);
  std::size_t visited = 0;
  for (index_type t = 0, learned = 0; t < length; ++t) {
    const auto logits = network_->step(newest);
    for (index_type stream = 0; stream < streams; ++stream) {
      const index_type place = stream * length + t;
      if (place >= size) break;  // and so are those of later streams
      std::uint8_t& byte = block[static_cast<std::size_t>(place)];
      mixer_.begin_byte(static_cast<int>(stream), {&logits(stream, 0), 256});
      code(mixer_, byte);
      newest[static_cast<std::size_t>(stream)] = byte;
      ++visited;
      ++done_;
    }
    const index_type enough = std::clamp<index_type>(
        static_cast<index_type>(std::min<std::uint64_t>(done_, 1 << 20)) / growth, first_step_bytes, how_.step_bytes);
    if ((t + 1 - learned) * streams >= enough) {
      train(block, streams, length, t + 1);
      learned = t + 1;
    }
    if (!go_on(visited)) return false;
  }
  keep(block);
  return true;
}

void learner::train(std::span<const std::uint8_t> block, index_type streams, index_type length, index_type end) {
  const index_type window = std::min(how_.window, end);
  rows_.clear();
  for (index_type stream = 0; stream < streams; ++stream)
    for (index_type t = end - window - 1; t < end; ++t) {
      // A stream that has ended is given its last byte again.
      const index_type place = std::min<index_type>(stream * length + t, static_cast<index_type>(block.size()) - 1);
      rows_.push_back(t < 0 ? before_the_first : block[static_cast<std::size_t>(place)]);
    }
  network_->train({rows_.data(), {streams, window + 1}});
  for (index_type n = 0; n < how_.replays; ++n) replay(block, streams, length, end);
}

void learner::replay(std::span<const std::uint8_t> block, index_type streams, index_type length, index_type end) {
  const auto window = static_cast<std::uint64_t>(how_.window + 1);
  // The last stream may be shorter than the others.
  const auto full = static_cast<std::uint64_t>(streams > 1 ? streams - 1 : 1);
  const auto known = static_cast<std::uint64_t>(std::min<index_type>(end, static_cast<index_type>(block.size())));
  const std::uint64_t of_past = past_.size() < window ? 0 : past_.size() - window + 1;
  const std::uint64_t of_block = known < 2 * window ? 0 : full * (known - window + 1);
  if (of_past + of_block == 0) return;
  const strata::random_source random(1);
  rows_.clear();
  for (index_type row = 0; row < streams; ++row) {
    const std::uint64_t drawn = random.bits(0, draws_++) % (of_past + of_block);
    const std::uint64_t in_block = drawn < of_past ? 0 : drawn - of_past;
    const std::uint8_t* const from =
        drawn < of_past ? &past_[drawn]
                        : &block[in_block % full * static_cast<std::uint64_t>(length) + in_block / full];
    rows_.insert(rows_.end(), from, from + window);
  }
  network_->train({rows_.data(), {streams, how_.window + 1}});
}

void learner::keep(std::span<const std::uint8_t> block) {
  if (how_.replays == 0) return;
  for (const std::uint8_t byte : block) {
    if (past_.size() < longest_past)
      past_.push_back(byte);
    else
      past_[oldest_] = byte;
    oldest_ = (oldest_ + 1) % longest_past;
  }
}

std::string arithmetic_of(strata::cpu& backend, const size_of_model& size) {
  size_of_model own = size;
  own.how.mixer = {.counter_bits = 10, .history_bits = 12};
  own.how.replays = 0;
  learner tested(backend, own);
  const strata::random_source random(2);
  std::vector<std::uint8_t> text(least_stream * static_cast<std::size_t>(own.how.streams));
  for (std::size_t n = 0; n < text.size(); ++n)
    text[n] = static_cast<std::uint8_t>('a' + random.bits(0, n) % 3 * (n % 7));
  checksum sum;
  constexpr std::size_t enough = 128;
  tested.visit(
      text,
      [&](byte_mixer& mixer, std::uint8_t& byte) {
        for (int bit = 7; bit >= 0; --bit) {
          const std::uint32_t frequency = mixer.frequency();
          sum.add(std::as_bytes(std::span(&frequency, 1)));
          mixer.learn(byte >> bit & 1);
        }
      },
      [&](std::size_t visited) { return visited < enough; });
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(sum.sum()));
  return digits;
}

}  // namespace compress_text
