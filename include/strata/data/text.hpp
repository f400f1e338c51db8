// The bytes of a file as training and validation text, and the windows that training and evaluation cut from it.
// Shapes: a window for length T is T + 1 ids: inputs are the first T, labels the last T.
// The entropy is Shannon, "A mathematical theory of communication" (1948), of single bytes.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <span>
#include <string>
#include <utility>

#include <strata/core/buffer.hpp>
#include <strata/core/error.hpp>
#include <strata/core/random.hpp>
#include <strata/core/view.hpp>
#include <strata/data/row_source.hpp>
#include <strata/io/file.hpp>

namespace strata::inline STRATA_ABI {

/// A text of bytes: the front is for training, the last `validation_fraction` for validation.
class text {
 public:
  static text load(const std::filesystem::path& path, double validation_fraction) {
    return with_memory_for("a text", [&] { return text(read_file(path), validation_fraction, to_text(path)); });
  }
  /// Messages call the bytes `source`.
  text(buffer<std::byte> bytes, double validation_fraction, std::string source)
      : bytes_(std::move(bytes)), source_(std::move(source)) {
    require(validation_fraction >= 0 && validation_fraction < 1, "validation fraction ", validation_fraction,
            " is not in [0, 1)");
    require(bytes_.size() > 0, source_, ": the text is empty");
    training_size_ = static_cast<std::size_t>(static_cast<double>(bytes_.size()) * (1.0 - validation_fraction));
    has_validation_ = validation_fraction > 0;
  }

  std::span<const std::uint8_t> all() const {
    require(bytes_.size() > 0, "this text was moved: another object holds its bytes");
    return {reinterpret_cast<const std::uint8_t*>(bytes_.data()), static_cast<std::size_t>(bytes_.size())};
  }
  std::span<const std::uint8_t> training() const { return all().first(training_size_); }
  std::span<const std::uint8_t> validation() const { return all().subspan(training_size_); }

  /// Throws unless each part holds at least one window for this length. A validation fraction of 0 needs no validation
  /// window.
  void require_length(index_type length) const {
    require_part("training", training(), length);
    if (has_validation_) require_part("validation", validation(), length);
  }

 private:
  void require_part(const char* part, std::span<const std::uint8_t> bytes, index_type length) const {
    require(static_cast<index_type>(bytes.size()) > length, source_, ": the ", part, " part has ", bytes.size(),
            " bytes, but a sequence of length ", length, " needs ", static_cast<std::uint64_t>(length) + 1);
  }
  buffer<std::byte> bytes_;
  std::string source_;
  std::size_t training_size_ = 0;
  bool has_validation_ = false;
};

namespace detail {

/// `use` names the text in the message.
inline void require_window(const char* use, std::span<const std::uint8_t> bytes, std::size_t window) {
  require(window >= 2, "a window of ", window, " bytes has no input and label");
  require(bytes.size() >= window, "the ", use, " text of ", bytes.size(), " bytes is shorter than one window of ",
          window, ": ", window - 1, " inputs and the last label");
}

}  // namespace detail

/// Fills `ids` ([T + 1]) with a random piece of `bytes` and returns its offset. The offset depends only on (seed, step,
/// row). With several batches a step, number the rows across all of them.
inline index_type crop(std::span<const std::uint8_t> bytes, const random_source& source, std::uint64_t step,
                       std::uint32_t row, std::span<token> ids) {
  detail::require_window("training", bytes, ids.size());
  const auto start =
      static_cast<std::size_t>(source.below(bytes.size() - ids.size() + 1, detail::crop_stream | row, step));
  std::ranges::copy(bytes.subspan(start, ids.size()), ids.begin());
  return static_cast<index_type>(start);
}

/// Consecutive windows of T + 1 bytes. Each begins with the last byte of the window before, so every byte except the
/// first is a label once. An incomplete last window is left out.
class window_sequence {
 public:
  window_sequence(std::span<const std::uint8_t> bytes, index_type length)
      : bytes_(bytes), window_(static_cast<std::size_t>(length) + 1) {
    require(length >= 1, "a sequence length of ", length, " is not positive");
    detail::require_window("evaluation", bytes, window_);
  }
  index_type count() const { return static_cast<index_type>((bytes_.size() - 1) / (window_ - 1)); }

  /// Fills `ids` ([T + 1]) with window number `position`.
  void copy(index_type position, std::span<token> ids) const {
    require(position >= 0 && position < count(), "window ", position, " of ", count(), " does not exist");
    require(ids.size() == window_, "a window of ", window_, " bytes does not fill ", ids.size(), " ids");
    std::ranges::copy(bytes_.subspan(static_cast<std::size_t>(position) * (window_ - 1), window_), ids.begin());
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t window_;
};

/// Bits per token of a model that knows only how often each token comes.
inline double order0_entropy_of(std::span<const std::uint64_t> counts) {
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}));
  double bits = 0;
  for (const std::uint64_t count : counts)
    if (count > 0) bits += static_cast<double>(count) / total * std::log2(total / static_cast<double>(count));
  return bits;
}
/// Bits per byte of a model that knows only the frequencies of these bytes.
inline double order0_entropy(std::span<const std::uint8_t> bytes) {
  require(!bytes.empty(), "an empty text has no entropy");
  std::array<std::uint64_t, 256> counts{};
  for (const std::uint8_t byte : bytes) ++counts[byte];
  return order0_entropy_of(counts);
}

}  // namespace strata
