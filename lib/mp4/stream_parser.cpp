#include "mp4/stream_parser.hpp"
