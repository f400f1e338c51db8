#include "compression.hpp"

#include <chrono>
#include <iostream>
#include <unistd.h>

#include "../console.hpp"
#include "checksum.hpp"
#include "file.hpp"
#include "learner.hpp"
#include "range_coder.hpp"

namespace compress_text {
namespace {

/// How far the work is: bits per byte, bytes a second, and the time that is left if the size is known.
class display {
 public:
  explicit display(std::optional<std::uint64_t> total) : total_(total) {}

  void at(std::uint64_t done, std::uint64_t coded) {
    const double seconds = examples::seconds_since(started_), bytes = static_cast<double>(done);
    if (seconds < 0.5) return;
    const double rate = bytes / seconds;
    std::string text = strata::to_text(done, total_ ? strata::to_text("/", *total_) : "", " bytes, ",
                                       examples::fixed(8 * static_cast<double>(coded) / std::max(bytes, 1.0), 3),
                                       " bits per byte, ", examples::fixed(rate, 0), " bytes/s");
    double fraction = 0;
    if (total_) {
      const double all = static_cast<double>(std::max<std::uint64_t>(*total_, 1));
      fraction = std::min(1.0, bytes / all);
      if (rate > 0) text += strata::to_text(", ", examples::clock_text((all - bytes) / rate), " left");
    }
    if (fraction < 1) bar_.draw(fraction, seconds, text);
  }
  /// Says what was done in all.
  void end(const std::string& name, std::uint64_t done, std::uint64_t coded) {
    bar_.end_line();
    const double seconds = examples::seconds_since(started_);
    std::cerr << name << ": " << done << " bytes, " << coded << " compressed";
    if (done > 0)
      std::cerr << ", " << examples::fixed(8 * static_cast<double>(coded) / static_cast<double>(done), 3)
                << " bits per byte";
    std::cerr << ", " << examples::fixed(static_cast<double>(done) / std::max(seconds, 1e-3), 0) << " bytes/s\n";
  }
  void end_line() { bar_.end_line(); }

 private:
  std::optional<std::uint64_t> total_;
  examples::progress_bar bar_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

constexpr strata::instruction_set instruction_sets[] = {strata::instruction_set::baseline,
                                                        strata::instruction_set::avx2, strata::instruction_set::avx512};

/// `baseline` is what this file was compiled for.
std::string name_of(strata::instruction_set set) {
  if (set == strata::instruction_set::avx2) return "avx2";
  if (set == strata::instruction_set::avx512) return "avx512";
  return strata::to_text("vectors of ", STRATA_BASELINE_VECTOR_BYTES, " bytes");
}

strata::cpu_options computing(int threads, strata::instruction_set instructions) {
  // The results of oneDNN depend on its version.
  return {.threads = threads, .products = strata::matrix_products::own, .instructions = instructions};
}

/// What both sides must have in common.
nlohmann::json header_of(strata::cpu& backend, const size_of_model& size) {
  nlohmann::json header{{"format", format},
                        {"library", STRATA_VERSION},
                        {"size", size.name},
                        {"description", size.description()},
                        {"learning", to_json(size.how)},
                        {"instructions", name_of(backend.instructions())},
                        {"threads", backend.threads()}};
  header["arithmetic"] = arithmetic_of(backend, size);
  return header;
}

/// Calls `work(output)` with the file or standard output. A file is written under another name and appears when it is
/// complete.
template <class Work>
void write_to(const program_options& options, Work work) {
  if (options.output == "-") {
    strata::file_output output(STDOUT_FILENO, "standard output");
    work(output);
    output.flush();
    return;
  }
  const std::filesystem::path path(options.output);
  strata::require(options.overwrite || !std::filesystem::exists(path), path,
                  " exists already: --overwrite replaces it, --out FILE writes another file");
  strata::remove_leftovers(path);
  strata::write_file_atomically(path, work);
}

/// work(), and the exit code. An interruption ends it without a trace.
template <class Work>
int unless_interrupted(Work work) {
  try {
    work();
    return 0;
  } catch (const interruption&) {
    return 128 + examples::interrupted;
  }
}

}  // namespace

int compress(const program_options& options) {
  source input(options.input);
  display shown(input.size());
  const size_of_model& size = *size_named(options.size);
  return unless_interrupted([&] {
    write_to(options, [&](strata::file_output& output) {
      strata::cpu backend(computing(options.threads, strata::instruction_set::automatic));
      record_writer records(output);
      records.header(header_of(backend, size));
      learner model(backend, size);
      checksum whole;
      std::vector<std::uint8_t> block, coded;
      std::uint64_t done = 0;
      for (std::uint64_t number = 0;; ++number) {
        block.resize(learner::block_size(number));
        block.resize(input.read(block));
        if (block.empty()) break;
        coded.clear();
        range_encoder encoder(coded);
        const auto code = [&](byte_mixer& mixer, std::uint8_t& byte) {
          for (int bit = 7; bit >= 0; --bit) {
            const bool value = byte >> bit & 1;
            encoder.encode(value, mixer.frequency());
            mixer.learn(value);
          }
        };
        const auto go_on = [&](std::size_t visited) {
          shown.at(done + visited, records.position() + coded.size());
          return !examples::interrupted;
        };
        if (!model.visit(block, code, go_on)) throw interruption();
        encoder.finish();
        checksum sum;
        sum.add(std::as_bytes(std::span(block)));
        whole.add(std::as_bytes(std::span(block)));
        records.block({static_cast<std::uint32_t>(block.size()), static_cast<std::uint32_t>(coded.size()), sum.sum()},
                      coded);
        output.flush();
        done += block.size();
      }
      records.end(done, whole.sum());
      shown.end(input.name(), done, records.position());
    });
  });
}

namespace {

/// The backend that computes as the one that compressed the file. Fails where it cannot be had.
std::unique_ptr<strata::cpu> backend_for(const nlohmann::json& header, const record_reader& records,
                                         const source& input) {
  const auto text_at = [&](const char* key) {
    const auto found = header.find(key);
    if (found == header.end() || !found->is_string()) records.fail(strata::to_text("its header has no ", key));
    return found->get<std::string>();
  };
  const auto number = header.value("format", nlohmann::json());
  if (!number.is_number_integer()) records.fail("its header has no format");
  strata::require(number.get<std::int64_t>() == format, input.name(), ": it has format ", number.dump(),
                  ", but this program reads format ", format);
  const size_of_model* const size = size_named(text_at("size"));
  const auto other = [&](const std::string& what) {
    strata::fail(input.name(), ": it was compressed by strata ", text_at("library"), " with ", what,
                 ", which this program (strata ", STRATA_VERSION, ") does not have; restore it with that version");
  };
  if (size == nullptr) other(strata::to_text("the model '", text_at("size"), "'"));
  if (header.value("description", nlohmann::json()) != size->description() ||
      header.value("learning", nlohmann::json()) != to_json(size->how))
    other(strata::to_text("another model '", text_at("size"), "'"));
  const auto threads = header.value("threads", nlohmann::json());
  if (!threads.is_number_unsigned() || threads.get<std::uint64_t>() < 1 || threads.get<std::uint64_t>() > 1024)
    records.fail("its header has no threads");
  const std::string instructions = text_at("instructions");
  for (const strata::instruction_set set : instruction_sets) {
    if (name_of(set) != instructions || !strata::processor_has(set)) continue;
    auto backend = std::make_unique<strata::cpu>(computing(threads.get<int>(), set));
    strata::require(
        arithmetic_of(*backend, *size) == text_at("arithmetic"), input.name(), ": it was compressed by strata ",
        text_at("library"), " with ", instructions,
        " on another processor or by another build, whose sums this one does not round in the same way; restore it "
        "where it was compressed");
    return backend;
  }
  strata::fail(input.name(), ": it was compressed with the instructions '", instructions,
               "', which this processor or this build does not have");
}

}  // namespace

int restore(const program_options& options) {
  source input(options.input);
  return unless_interrupted([&] {
    block_record record;
    std::vector<std::uint8_t> coded;
    std::optional<std::uint64_t> total;
    if (input.size()) {  // damage is found in seconds, before hours of work
      record_reader records(input);
      records.header();
      while (records.block(record, coded)) {
      }
      total = records.bytes();
      input.rewind();
    }
    record_reader records(input);
    const nlohmann::json header = records.header();
    const std::unique_ptr<strata::cpu> backend = backend_for(header, records, input);
    display shown(total);
    write_to(options, [&](strata::file_output& output) {
      learner model(*backend, *size_named(header.at("size").get<std::string>()));
      checksum whole;
      std::vector<std::uint8_t> block;
      std::uint64_t done = 0, start = records.position();
      for (std::uint64_t number = 0; records.block(record, coded); ++number) {
        if (record.bytes > learner::block_size(number)) records.fail("a block is too long");
        block.assign(record.bytes, 0);
        range_decoder decoder(coded);
        const auto code = [&](byte_mixer& mixer, std::uint8_t& byte) {
          int value = 0;
          for (int bit = 0; bit < 8; ++bit) {
            const bool next = decoder.decode(mixer.frequency());
            mixer.learn(next);
            value = 2 * value + next;
          }
          byte = static_cast<std::uint8_t>(value);
        };
        const auto go_on = [&](std::size_t visited) {
          shown.at(done + visited, start + std::min(decoder.position(), coded.size()));
          return !examples::interrupted;
        };
        if (!model.visit(block, code, go_on)) throw interruption();
        checksum sum;
        sum.add(std::as_bytes(std::span(block)));
        strata::require(sum.sum() == record.sum, input.name(), ": the block that ends at byte ", records.position(),
                        " is undamaged, but gives other bytes here: this processor or build does not compute as the "
                        "one that compressed it");
        whole.add(std::as_bytes(std::span(block)));
        output.write(std::as_bytes(std::span(block)));
        output.flush();
        done += block.size();
        start = records.position();
      }
      strata::require(whole.sum() == records.sum(), input.name(), ": the checksum of the whole is wrong");
      shown.end(input.name(), done, records.position());
    });
  });
}

}  // namespace compress_text
