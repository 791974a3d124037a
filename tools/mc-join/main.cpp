#include "mc-join/run.hpp"

int main(int argc, char** argv) {
  return mc::cli::run_main("mc-join", "Make one MP4 file out of a recording, without encoding anything again.", argc,
                           argv, mc::tool_join::run);
}
