// A range coder: turns decisions and their probabilities into bytes, and back. A decision of probability p costs
// -log2(p) bits.
// Source: G. N. N. Martin, "Range encoding", 1979; the carry is that of I. Pavlov's LZMA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <strata/core/error.hpp>

namespace compress_text {

/// The frequencies of a decision's two values are whole numbers whose sum is 2^frequency_bits.
inline constexpr int frequency_bits = 22;
inline constexpr std::uint32_t frequency_sum = std::uint32_t{1} << frequency_bits;

namespace detail {
/// The coder divides a range of 32 bits. Below this it is made 8 bits longer, so each frequency from 1 on has a part.
inline constexpr std::uint32_t shortest_range = std::uint32_t{1} << 24;
/// The part of a range that belongs to the value 1.
inline std::uint32_t part_of(std::uint32_t range, std::uint32_t frequency) {
  return static_cast<std::uint32_t>(std::uint64_t{range} * frequency >> frequency_bits);
}
}  // namespace detail

/// Appends coded decisions to a list of bytes.
class range_encoder {
 public:
  explicit range_encoder(std::vector<std::uint8_t>& target) : target_(&target) {}

  /// `frequency` is that of the value 1, from 1 to frequency_sum - 1.
  void encode(bool value, std::uint32_t frequency) {
    const std::uint32_t part = detail::part_of(range_, frequency);
    if (value) {
      range_ = part;
    } else {
      low_ += part;
      range_ -= part;
    }
    while (range_ < detail::shortest_range) {
      range_ <<= 8;
      put_byte();
    }
  }
  /// Writes what is left. Call it once, at the end.
  void finish() {
    for (int n = 0; n < 5; ++n) put_byte();
  }

 private:
  // `low_` has 33 bits; its highest is a carry into bytes that were given out. So the last byte that is not 255, and
  // the 255s after it, are held back.
  void put_byte() {
    if (low_ < 0xff000000u || low_ > 0xffffffffu) {
      const auto carry = static_cast<std::uint8_t>(low_ >> 32);
      if (begun_) target_->push_back(static_cast<std::uint8_t>(held_ + carry));
      for (; all_ones_ > 0; --all_ones_) target_->push_back(static_cast<std::uint8_t>(0xff + carry));
      held_ = static_cast<std::uint8_t>(low_ >> 24);
      begun_ = true;
    } else {
      ++all_ones_;
    }
    low_ = (low_ & 0x00ffffffu) << 8;
  }

  std::vector<std::uint8_t>* target_;
  std::uint64_t low_ = 0;
  std::uint32_t range_ = 0xffffffffu;
  std::uint64_t all_ones_ = 0;
  std::uint8_t held_ = 0;
  bool begun_ = false;
};

/// Reads the decisions back. Bytes that are missing or altered give other decisions, and do no harm.
class range_decoder {
 public:
  explicit range_decoder(std::span<const std::uint8_t> source) : source_(source) {
    for (int n = 0; n < 4; ++n) take_byte();
  }

  bool decode(std::uint32_t frequency) {
    const std::uint32_t part = detail::part_of(range_, frequency);
    const bool value = code_ < part;
    if (value) {
      range_ = part;
    } else {
      code_ -= part;
      range_ -= part;
    }
    while (range_ < detail::shortest_range) {
      range_ <<= 8;
      take_byte();
    }
    return value;
  }
  /// Bytes taken so far.
  std::size_t position() const { return position_; }

 private:
  void take_byte() {
    const std::uint8_t next = position_ < source_.size() ? source_[position_] : std::uint8_t{0};
    ++position_;
    code_ = code_ << 8 | next;
  }

  std::span<const std::uint8_t> source_;
  std::size_t position_ = 0;
  std::uint32_t range_ = 0xffffffffu, code_ = 0;
};

}  // namespace compress_text
